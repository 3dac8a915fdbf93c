"""``ssl-sweep verify``: read every byte of the finished stages and compare it with what was committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.errors import remedy
from ssl_sweep.sweep.errors import StoreError, UnreachableError
from ssl_sweep.sweep.planning.planner import plan_in
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store

VERIFY_SCHEMA_VERSION = 1
_AT_ONCE = 4


@dataclass(frozen=True)
class Damage:
    """What is wrong with one file of a finished stage."""

    stage: Stage
    id: str
    """Id of the stage; '' if a whole folder cannot be listed."""
    file: str
    what: str
    """What is wrong; follows the name of the file in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found."""

    store: str
    stages: int
    """Finished stages."""
    files: int
    bytes: int
    without_checksum: int
    """Files that were committed before there were checksums; only their size is compared."""
    damages: tuple[Damage, ...]
    withdrawn: tuple[tuple[Stage, str], ...]
    """Stages that the next run does again."""
    stuck: tuple[str, ...] = ()
    """Why other damaged stages could not be withdrawn."""

    @property
    def exit_code(self) -> int:
        """1 if damage was found, else 0."""
        return 1 if self.damages else 0

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep verify --json`` prints."""
        return {"schema_version": VERIFY_SCHEMA_VERSION, **asdict(self)}


def verify(
    store_uri: str,
    grid: Path | None = None,
    overrides: Iterable[str] = (),
    *,
    repair: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check the finished stages of a grid, or all in the store.

    If a dataset of the grid is damaged, the stages that need it are not checked: their ids are unknown until
    it is prepared again.

    Args:
        store_uri: The store.
        grid: The grid file; None checks the whole store.
        overrides: ``KEY=VALUE`` changes of the grid.
        repair: Delete the manifests of damaged stages, so that the next run does these stages again.
            Otherwise nothing is changed.
        on_progress: Called as ``on_progress(checked, total)``, in stages.

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
            if on_progress is not None:
                on_progress(len(found), len(keys))
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
    """What was found in one stage."""

    finished: bool = False
    files: int = 0
    bytes: int = 0
    without_checksum: int = 0
    damages: tuple[Damage, ...] = ()


def _stages(store_uri: str, grid: Path, overrides: Iterable[str]) -> list[tuple[Stage, str]]:
    plan, _ = plan_in(grid, overrides, store_uri)
    return [(stage.kind, stage.id) for stage in plan.stages if not stage.provisional]


def _all(store: Store, found: list[_Look]) -> Iterator[tuple[Stage, str]]:
    """Yield every stage that has a folder; a folder that cannot be listed is added to ``found`` as damage."""
    with store.survey():
        for stage in STAGES:
            try:
                yield from [(stage, id) for id in store.ids(stage)]
            except UnreachableError:
                raise
            except StoreError as error:
                found.append(_Look(damages=(Damage(stage, "", f"{stage}/", _failed("listed", error)),)))


def _record(store: Store, key: tuple[Stage, str]) -> bytes | StoreError | None:
    """Return the bytes of a manifest, None if there is no manifest, or the error if it cannot be read."""
    try:
        return store.record(*key)
    except UnreachableError:
        raise
    except StoreError as error:
        return error


def _failed(done: str, error: StoreError) -> str:
    """An error in words, such as ``cannot be read: Permission denied``."""
    cause = error.__cause__
    return f"cannot be {done}: {(isinstance(cause, OSError) and cause.strerror) or error}"


def _withdraw(store: Store, key: tuple[Stage, str], stuck: list[str]) -> bool:
    try:
        return store.withdraw(*key)
    except OSError as error:
        stuck.append(f"{key[0]}/{key[1]} cannot be withdrawn ({error.strerror}); {remedy(error)}")
        return False


def _look(store: Store, key: tuple[Stage, str], record: bytes | StoreError | None) -> _Look:
    stage, id = key
    if record is None:
        return _Look()
    own = f"{stage}/{id}/manifest.json"
    if isinstance(record, StoreError):
        return _Look(True, damages=(Damage(stage, id, own, _failed("read", record)),))
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
