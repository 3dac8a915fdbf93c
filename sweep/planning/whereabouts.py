"""Where each grid was last run, in this machine's cache: a hint for messages about a missing store.

No decision rests on it, and it can be deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from ssl_sweep.data_ops.sources.remote import cache_root
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.store.leases import holders
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole

_MOST = 500  # grids; the ones that ran longest ago are forgotten


def note_run(grid: str | Path, store_uri: str) -> None:
    """Note that a grid is run with a store. Does nothing if the cache cannot be written."""
    path = _record(grid)
    with suppress(OSError):
        with whole(path) as partial:
            partial.write_text(json.dumps({"grid": os.path.realpath(grid), "store": store_uri}))
        known = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime)
        for old in known[:-_MOST]:
            old.unlink(missing_ok=True)


def last_store(grid: str | Path) -> str:
    """The address of the store that a grid was last run with on this machine; "" if it is unknown."""
    try:
        return str(json.loads(_record(grid).read_bytes())["store"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def elsewhere(grid: str | Path, store: Store) -> str:
    """Where a grid was last run, in words, if that was not with ``store``; "" if it is unknown."""
    known = last_store(grid)
    return f"this grid was last run with --store {known}" if known not in ("", store.uri) else ""


def require_store(store: Store, grid: str | Path) -> None:
    """Refuse a store that does not exist, for commands that only read it.

    Raises:
        StoreError: the store does not exist; says where the grid was last run.
    """
    if not store.remote and not store.root.is_dir():
        raise _nothing(f"no store at {store.uri}", grid, store)


def require_traces(plan: Plan, grid: str | Path, store: Store) -> None:
    """Refuse a store that has nothing of a grid, for commands that show its results.

    Raises:
        StoreError: no stage of the plan ran or runs there; says where the grid was last run.
    """
    require_store(store, grid)
    if last_store(grid) == store.uri or any(s.state == "complete" or s.reason != "new" for s in plan.stages):
        return
    running = holders(store.storage)
    if not any(f"{stage.kind}-{stage.id}" in running for stage in plan.stages):
        raise _nothing(f"the store {store.uri} has nothing of this grid", grid, store)


def _nothing(message: str, grid: str | Path, store: Store) -> StoreError:
    known = elsewhere(grid, store)
    hint = "name the store with --store, or run the grid first"
    return StoreError(f"{message}; {known}" if known else message, hint=hint)


def _record(grid: str | Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(grid))).hexdigest()[:24]
    return cache_root() / "grids" / f"{name}.json"
