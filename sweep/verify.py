"""`ssl-sweep verify`: is every finished stage still what was committed? Every byte is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweep.manifest import Manifest
from sweep.plan_grid import plan_in
from sweep.specs import STAGES, Stage
from sweep.store import Store

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
    be done again by the next run."""

    store: str
    stages: int
    files: int
    bytes: int
    without_checksum: int
    damages: tuple[Damage, ...]
    withdrawn: tuple[tuple[Stage, str], ...]

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
    keys = _stages(store_uri, grid, overrides) if grid is not None else _all(store)
    found: list[_Look] = []
    with store.survey(), ThreadPoolExecutor(_AT_ONCE) as pool:
        manifests = {key: store.record(*key) for key in keys}
        looks = pool.map(lambda item: _look(store, *item), manifests.items())
        for look in looks:
            found.append(look)
            if told is not None:
                told(len(found), len(keys))
    damages = tuple(damage for look in found for damage in look.damages)
    broken = dict.fromkeys((damage.stage, damage.id) for damage in damages)
    return Verified(
        store=store.uri,
        stages=sum(look.finished for look in found),
        files=sum(look.files for look in found),
        bytes=sum(look.bytes for look in found),
        without_checksum=sum(look.without_checksum for look in found),
        damages=damages,
        withdrawn=tuple(key for key in broken if store.withdraw(*key)) if repair else (),
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
    return [(node.stage, node.id) for node in plan.nodes if not node.provisional]


def _all(store: Store) -> list[tuple[Stage, str]]:
    with store.survey():
        return [(stage, id) for stage in STAGES for id in store.ids(stage)]


def _look(store: Store, key: tuple[Stage, str], record: bytes | None) -> _Look:
    stage, id = key
    if record is None:
        return _Look()
    own = f"{stage}/{id}/manifest.json"
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
