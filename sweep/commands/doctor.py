"""``ssl-sweep doctor``: check everything that a sweep needs. Each check says what to do if it fails."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ssl_sweep.ssl_core.config.plugins import Kind, added
from ssl_sweep.sweep.cost.machine import gpus_here
from ssl_sweep.sweep.errors import SweepError, first_line
from ssl_sweep.sweep.store.provenance import processor
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import require_tracker, tracking_folder, tracking_uri, where_tracked
from ssl_sweep.sweep.tracking.mlflow_client import local_uri
from ssl_sweep.sweep.util.addresses import masked
from ssl_sweep.sweep.util.cores import cores

# The oldest release that is tested.
_RAY_AT_LEAST = (2, 60)


@dataclass(frozen=True)
class Check:
    """One finding. ``state``: ``ok``, ``note`` (a sweep works without it) or ``problem`` (it would fail)."""

    name: str
    state: str
    detail: str
    hint: str = ""


def diagnose(store_uri: str, tracker: str | None, address: str | None) -> Iterator[Check]:
    """Every check in turn; the slow ones (MLflow, Ray) last."""
    yield Check("machine", "ok", f"{cores()} cores, {processor()}")
    yield _packages()
    yield from _added("method")
    yield from _added("encoder")
    yield _gpu()
    yield _dali()
    yield _store(store_uri)
    yield _guarded("tracker", lambda: _tracker(store_uri, tracker))
    yield _guarded("ray", lambda: _ray(address))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except SweepError as error:
        return Check(name, "problem", str(error), error.hint or "")
    except Exception as error:  # an error of a server or a driver is a finding here
        return Check(name, "problem", masked(f"{type(error).__name__}: {first_line(error)}"))


def _packages() -> Check:
    found, missing = [], []
    for name in ("ray", "torch", "torchvision", "mlflow", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "problem", f"missing: {', '.join(missing)}", "reinstall ssl-sweep")
    ray = tuple(int(part) for part in version("ray").split(".")[:2])
    if ray < _RAY_AT_LEAST:
        return Check("packages", "problem", f"ray {version('ray')} is too old", "pip install 'ray>=2.60'")
    return Check("packages", "ok", ", ".join(found))


def _added(kind: Kind) -> Iterator[Check]:
    """Methods or encoders that other packages add, if any."""
    here = added(kind)
    if here.found:
        named = (f"{new.name} ({new.version})" for new in here.found.values())
        yield Check(f"{kind}s", "ok", f"added: {', '.join(named)}")
    for why in here.refused.values():
        yield Check(f"{kind}s", "note", why)


def _gpu() -> Check:
    if not gpus_here():
        return Check("gpu", "note", "no GPU is visible: trainings run on the CPU")
    import torch

    if not torch.cuda.is_available():
        return Check(
            "gpu",
            "problem",
            "torch cannot use this machine's GPU",
            "check that the driver supports the CUDA version of torch",
        )
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Check("gpu", "ok", ", ".join(names))


def _dali() -> Check:
    if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None:
        hint = "pip install nvidia-dali-cuda130 (Linux only)"
        return Check("dali", "note", "not installed: the torch back end renders the views", hint)
    use = "used on GPUs" if gpus_here() else "installed; without a GPU the torch back end is faster"
    return Check("dali", "ok", use)


def _store(uri: str) -> Check:
    try:
        store = Store(uri)
        store.check_writable()
    except SweepError as error:
        return Check("store", "problem", str(error), error.hint or "")
    free = os.statvfs(store.root)
    where = f" in its cache {store.root}" if store.remote else ""
    room = f"{free.f_bavail * free.f_frsize / 2**30:.0f} GiB free{where}"
    return Check("store", "ok", f"{uri} is writable, {room}")


def _tracker(store_uri: str, uri: str | None) -> Check:
    store = Store(store_uri)
    address = tracking_uri(store, uri)
    require_tracker(store, uri)
    if address == local_uri(tracking_folder(store)):
        return Check("tracker", "ok", where_tracked(store, uri) or "SQLite in the store")
    return Check("tracker", "ok", masked(address))


def _ray(address: str | None) -> Check:
    from ssl_sweep.sweep.cluster.connect import connect

    with connect(address) as cluster:
        where = "starts on this machine" if cluster.private else f"cluster of {cluster.nodes} nodes"
        return Check("ray", "ok", f"{where}: {cluster.cpus:.0f} CPUs, {cluster.gpus:.0f} GPUs")
