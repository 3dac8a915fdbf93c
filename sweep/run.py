"""`ssl-sweep run`: plan, then execute what is missing. Running it again is how one resumes."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import pyarrow as pa

from sweep.cost import Rates
from sweep.errors import InfeasibleError
from sweep.execute import Progress, execute
from sweep.grid_model import Compute
from sweep.listener import Listener
from sweep.mirror import Mirror
from sweep.nodes import Node
from sweep.plan import Plan
from sweep.plan_grid import plan_grid
from sweep.ray_backend import RayBackend
from sweep.ray_cluster import Cluster, connect, require_shared_store
from sweep.results import results
from sweep.runtime import Runtime, TrainPlan
from sweep.store import Store

# A training planned under this many seconds runs in Train's in-process mode: starting a worker group
# costs about 15 s on two cores, more than such a training gains from Train's own fault tolerance.
IN_PROCESS_BELOW_S = 60.0
# The mirror may still write this long after the last stage.
_MIRROR_GRACE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes:
        executed: stages carried out by this run.
        failed: stages that failed or wait for one that did, as (node, why).
        interrupted: the signal that stopped it, else None.
        mirror_error: why the tracker lacks something, or ''.
    """

    plan: Plan
    table: pa.Table
    executed: tuple[Node, ...]
    failed: tuple[tuple[Node, str], ...]
    interrupted: int | None
    mirror_error: str
    seconds: float

    @property
    def exit_code(self) -> int:
        if self.interrupted is not None:
            return 128 + self.interrupted
        return 1 if self.failed else 0


def run(
    grid_path: Path,
    overrides: Sequence[str],
    *,
    store_uri: str,
    tracking_uri: str | None,
    address: str | None,
    listener: Listener,
) -> RunResult:
    """Execute every stage of the grid that the store lacks.

    Raises:
        GridError: the grid is wrong; nothing was started.
        InfeasibleError: it asks for more than there is; nothing was started.
        StoreError: the store cannot be used.
    """
    started = time.monotonic()
    store = Store(store_uri)
    store.check_writable()
    store.reconcile()
    grid, plan = plan_grid(grid_path, overrides, store)
    progresses: list[Progress] = []
    interrupted: list[int] = []
    if plan.to_run:
        require_feasible(grid.compute, address)
        for node in plan.to_run:
            store.clear_failure(node.stage, node.id)  # this run is the new attempt
        stop_file = store.root / f".stop-{uuid.uuid4().hex}"
        with _stop_on_signal(stop_file, interrupted, listener):
            plan, progresses = _execute(
                grid_path, overrides, plan, store, grid.compute, address, stop_file, tracking_uri, listener
            )
    listener.close()
    mirror = Mirror(plan, store, tracking_uri)
    mirror.start()
    _, plan = plan_grid(grid_path, overrides, store)
    table = results(plan, store)
    mirror_error = mirror.close(_MIRROR_GRACE_S)
    return RunResult(
        plan=plan,
        table=table,
        executed=tuple(p.nodes[id] for p in progresses for id in p.executed),
        failed=_failures(progresses),
        interrupted=interrupted[0] if interrupted else None,
        mirror_error=mirror_error,
        seconds=time.monotonic() - started,
    )


def _execute(
    grid_path: Path,
    overrides: Sequence[str],
    plan: Plan,
    store: Store,
    compute: Compute,
    address: str | None,
    stop_file: Path,
    tracking_uri: str | None,
    listener: Listener,
) -> tuple[Plan, list[Progress]]:
    """Prepare the datasets, plan again with their fingerprints known, then everything else."""
    listener.say(f"starting Ray{f' at {address}' if address else ''}")
    with connect(address) as cluster:
        require_shared_store(store.root)
        runtime = Runtime(
            store=str(store.root),
            stop_file=stop_file,
            backend=compute.backend,
            checkpoint_every_s=compute.checkpoint_every_s,
            private=cluster.private,
        )

        rates = Rates.of(store)

        def carry_out(nodes: Sequence[Node], runtime: Runtime) -> Progress:
            plans = {n.id: train_plan(n, compute, rates, cluster) for n in nodes if n.trains}
            backend = RayBackend(runtime, cluster, plans)
            try:
                return execute(
                    nodes,
                    backend,
                    stop=runtime.stop_requested,
                    changed=listener.changed,
                    tick=listener.tick,
                )
            finally:
                backend.close()

        progresses = []
        if plan.prepares:
            progresses.append(carry_out(plan.prepares, runtime))
            _, plan = plan_grid(grid_path, overrides, store)
        ready = [node for node in plan.nodes if node.stage != "prepare"]
        listener.planned(ready, store.root)
        mirror = Mirror(plan, store, tracking_uri)
        mirror.start()
        progresses.append(carry_out(ready, replace(runtime, datasets=datasets_of(plan, store))))
        mirror.close(_MIRROR_GRACE_S)
    return plan, progresses


def datasets_of(plan: Plan, store: Store) -> dict[str, str]:
    """Data fingerprint → id of the prepare stage that holds the images, for every prepared dataset."""
    manifests = (store.complete("prepare", node.id) for node in plan.nodes if node.stage == "prepare")
    return {str(m.outputs["fingerprint"]): m.id for m in manifests if m is not None}


def train_plan(node: Node, compute: Compute, rates: Rates, cluster: Cluster) -> TrainPlan:
    """The resources of one training and the mode that runs it.

    Nothing here depends on what else is to run: the number of threads can move the last bits of a sum,
    and a resumed sweep must give the numbers of an undisturbed one.
    """
    on_gpu = compute.device == "gpu" or (compute.device == "auto" and cluster.gpus > 0)
    seconds, _ = rates.training(node, "gpu" if on_gpu else "cpu")
    if compute.mode == "auto":
        in_process = compute.workers == 1 and seconds < IN_PROCESS_BELOW_S
    else:
        in_process = compute.mode == "in-process"
    return TrainPlan(
        workers=compute.workers,
        cpus=float(compute.cpus_per_worker or (_cpus_per_gpu(cluster) if on_gpu else 1)),
        gpus=(compute.gpus_per_worker or 1.0) if on_gpu else 0.0,
        in_process=in_process,
    )


def _cpus_per_gpu(cluster: Cluster) -> int:
    """A GPU's even part of the processors, for the pipeline that feeds it; 8 are plenty."""
    return max(1, min(8, int(cluster.cpus // max(1.0, cluster.gpus))))


def require_feasible(compute: Compute, address: str | None) -> None:
    """Refuse, before anything starts, what this machine can never hold; a cluster is asked once joined.

    Raises:
        InfeasibleError: names the need and what there is.
    """
    if compute.mode == "in-process" and compute.workers > 1:
        raise InfeasibleError(
            f"compute.mode is in-process and compute.workers is {compute.workers}: that mode has one worker",
            hint="set compute.mode to auto or workers",
        )
    if address not in (None, "local"):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    need = compute.workers * (compute.cpus_per_worker or 1)
    if need > cores:
        raise InfeasibleError(
            f"a training needs {compute.workers} workers x {compute.cpus_per_worker or 1} CPUs = {need} CPUs;"
            f" this machine has {cores}",
            hint="lower compute.workers or compute.cpus_per_worker, or join a larger cluster with --address",
        )
    if compute.device == "gpu" and not gpu_visible():
        raise InfeasibleError(
            "compute.device is gpu, and no CUDA GPU is visible on this machine",
            hint="set compute.device to auto or cpu, or join a cluster with GPUs with --address",
        )


def gpu_visible() -> bool:
    """Whether the NVIDIA driver shows a GPU; asked without importing torch."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1") and any(
        Path("/dev").glob("nvidia[0-9]*")
    )


def _failures(progresses: Sequence[Progress]) -> tuple[tuple[Node, str], ...]:
    return tuple(
        (node, progress.messages.get(node.id, node.reason))
        for progress in progresses
        for node in progress.having("failed", "blocked")
    )


@contextmanager
def _stop_on_signal(stop_file: Path, seen: list[int], listener: Listener) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a clean stop through ``stop_file``; the second ends at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        stop_file.touch()
        listener.say("stopping: trainings write a checkpoint, nothing new starts; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop_file.unlink(missing_ok=True)
