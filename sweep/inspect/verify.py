"""`ssl-sweep verify`: is every finished stage still what was committed? Every byte is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.errors import StoreError, UnreachableError
from ssl_sweep.sweep.planning.planner import plan_in
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store

VERIFY_SCHEMA_VERSION = 1
_AT_ONCE = 4
Told = Callable[[int, int], None]  # stages looked at, of how many


@dataclass(frozen=True)
class Damage:
    """What is wrong with one file of a finished stage."""

    stage: Stage
    id: str
    file: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Verified:
    """`without_checksum` files are from before there were any: their size is right. `withdrawn` stages will
    be done again by the next run; `stuck` says why others could not be withdrawn."""

    store: str
    stages: int
    files: int
    bytes: int
    without_checksum: int
    damages: tuple[Damage, ...]
    withdrawn: tuple[tuple[Stage, str], ...]
    stuck: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where damage was found."""
        return 1 if self.damages else 0

    def to_json(self) -> dict[str, Any]:
        """What --json prints."""
        return {"schema_version": VERIFY_SCHEMA_VERSION, **asdict(self)}


def verify(
    store_uri: str,
    grid: Path | None = None,
    overrides: Iterable[str] = (),
    *,
    repair: bool = False,
    told: Told | None = None,
) -> Verified:
    """Look at the finished stages of a grid, or at all in the store. With `repair` the manifests of damaged
    stages are taken away, so that the next run does them again; else nothing is changed. Of a grid with a
    damaged dataset only that and what does not rest on it: the ids of the rest are not known before it is
    prepared again.

    Raises:
        SweepError: the store does not answer, or the grid is wrong.
    """
    store = Store(store_uri)
    store.require_existing()
    found: list[_Look] = []
    keys = _stages(store_uri, grid, overrides) if grid is not None else list(_all(store, found))
    with store.survey(), ThreadPoolExecutor(_AT_ONCE) as pool:
        for look in pool.map(lambda key: _look(store, key, _record(store, key)), keys):
            found.append(look)
            if told is not None:
                told(len(found), len(keys))
    damages = tuple(damage for look in found for damage in look.damages)
    broken = dict.fromkeys((damage.stage, damage.id) for damage in damages if damage.id)
    stuck: list[str] = []
    withdrawn = tuple(key for key in broken if _withdraw(store, key, stuck)) if repair else ()
    return Verified(
        store=store.uri,
        stages=sum(look.finished for look in found),
        files=sum(look.files for look in found),
        bytes=sum(look.bytes for look in found),
        without_checksum=sum(look.without_checksum for look in found),
        damages=damages,
        withdrawn=withdrawn,
        stuck=tuple(stuck),
    )


@dataclass(frozen=True)
class _Look:
    """What one stage was found to be."""

    finished: bool = False
    files: int = 0
    bytes: int = 0
    without_checksum: int = 0
    damages: tuple[Damage, ...] = ()


def _stages(store_uri: str, grid: Path, overrides: Iterable[str]) -> list[tuple[Stage, str]]:
    plan, _ = plan_in(grid, overrides, store_uri)
    return [(stage.kind, stage.id) for stage in plan.stages if not stage.provisional]


def _all(store: Store, found: list[_Look]) -> Iterator[tuple[Stage, str]]:
    """Every stage of which there is anything; a kind that cannot be listed is one of what is `found`."""
    with store.survey():
        for stage in STAGES:
            try:
                yield from [(stage, id) for id in store.ids(stage)]
            except UnreachableError:
                raise
            except StoreError as error:
                found.append(_Look(damages=(Damage(stage, "", f"{stage}/", _said(error)),)))


def _record(store: Store, key: tuple[Stage, str]) -> bytes | StoreError | None:
    """What a stage has for a manifest, or why that cannot be read."""
    try:
        return store.record(*key)
    except UnreachableError:
        raise
    except StoreError as error:
        return error


def _said(error: StoreError) -> str:
    """`cannot be read: Permission denied`, without the name of what could not."""
    return f"cannot be {str(error).rpartition(' cannot be ')[2]}"


def _withdraw(store: Store, key: tuple[Stage, str], stuck: list[str]) -> bool:
    try:
        return store.withdraw(*key)
    except OSError as error:
        stuck.append(f"{key[0]}/{key[1]} cannot be withdrawn: {error.strerror}")
        return False


def _look(store: Store, key: tuple[Stage, str], record: bytes | StoreError | None) -> _Look:
    stage, id = key
    if record is None:
        return _Look()
    own = f"{stage}/{id}/manifest.json"
    if isinstance(record, StoreError):
        return _Look(True, damages=(Damage(stage, id, own, _said(record)),))
    manifest = Manifest.parse(record)
    if manifest is None:
        return _Look(True, damages=(Damage(stage, id, own, "cannot be read, or is not as it was written"),))
    if (manifest.stage, manifest.id) != key:
        what = f"is the manifest of {manifest.stage} {manifest.id}"
        return _Look(True, damages=(Damage(stage, id, own, what),))
    found = {name: store.fault(manifest, name) for name in manifest.files}
    return _Look(
        True,
        len(found),
        sum(manifest.files.values()),
        sum(name not in manifest.sha256 for name in found),
        tuple(Damage(stage, id, name, what) for name, what in found.items() if what),
    )
