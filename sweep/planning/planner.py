"""From a grid file to its plan in one call. Every problem of the file is reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.passed_over import summary
from ssl_sweep.sweep.errors import GridError, Located
from ssl_sweep.sweep.grid.load import Grid, read_grid
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.datasets import read_catalog
from ssl_sweep.sweep.planning.expand import expand_all
from ssl_sweep.sweep.planning.graph import Plan, plan
from ssl_sweep.sweep.planning.leakage import guard, only_sound
from ssl_sweep.sweep.planning.notes import Note, older_form
from ssl_sweep.sweep.planning.whereabouts import elsewhere, require_store, require_traces
from ssl_sweep.sweep.protocols import protocol_of
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.collection import without_gc

_LARGE_BYTES = 16e9


def plan_grid(
    path: str | Path, overrides: Iterable[str], store: Store, *, expect: bool = False
) -> tuple[Grid, Plan]:
    """The grid and its plan.

    Args:
        path: The grid file.
        overrides: ``KEY=VALUE`` changes of the grid.
        store: The store to plan for.
        expect: Assume the sizes in ``expect`` for datasets whose files are missing. Such a plan cannot run.

    Raises:
        GridError: lists everything that is wrong with the file, its names and its sizes.
    """
    grid, problems = read_grid(path, overrides)
    return grid, plan_read(grid, store, problems, expect=expect)


def plan_read(grid: Grid, store: Store, problems: Iterable[Located] = (), *, expect: bool = False) -> Plan:
    """The plan of a grid that was read before, with its datasets as they are now.

    ``problems`` were found while the grid was read.
    """
    with store.survey(), without_gc():
        cells, notes = _expand(grid, problems, store, expect)
        made = plan(cells, store, grid.name, notes)
        older = older_form(made.to_run, made.by_id, store)
        return replace(made, notes=(*notes, Note("older", older))) if older else made


def plan_in(path: str | Path, overrides: Iterable[str], store_uri: str) -> tuple[Plan, Store]:
    """The plan of a grid, not to be run, and the store that it was read from.

    Raises:
        GridError: lists everything that is wrong with the grid.
        StoreError: the store does not exist, but the grid was run with another one.
    """
    store = Store(store_uri)
    if elsewhere(path, store):
        require_store(store, path)
    return plan_grid(path, overrides, store, expect=True)[1], store


def plan_ran(path: str | Path, overrides: Iterable[str], store_uri: str) -> tuple[Plan, Store]:
    """Like ``plan_in``, for a grid that was run with this store.

    Raises:
        GridError: lists everything that is wrong with the grid.
        StoreError: the store does not exist, or it has nothing of the grid.
    """
    store = Store(store_uri)
    require_store(store, path)
    plan = plan_grid(path, overrides, store, expect=True)[1]
    require_traces(plan, path, store)
    return plan, store


def expand_grid(
    path: str | Path, overrides: Iterable[str] = (), store: Store | None = None
) -> tuple[Grid, tuple[Cell, ...]]:
    """The grid and its cells. Without a store, every dataset counts as not prepared."""
    grid, problems = read_grid(path, overrides)
    return grid, _expand(grid, problems, store, True)[0]


def _expand(
    grid: Grid, problems: Iterable[Located], store: Store | None, expect: bool
) -> tuple[tuple[Cell, ...], tuple[Note, ...]]:
    catalog, unreadable = read_catalog(grid, store, expect=expect)
    assumed = [info for info in catalog.values() if info.assumed]
    pretrained = {name for e in grid.pretrain for pool in e.value.domain for name in pool.names}
    evaluated = {name for e in grid.evaluate for name in e.value.domain}
    catalog, harmed = only_sound(catalog, pretrained | evaluated, store)
    catalog, notes = guard(catalog, pretrained, evaluated, grid.leakage, store)
    cells, impossible = expand_all(grid, catalog)
    for info in catalog.values():
        if info.draws:
            info.draws.keep()
    found = [*problems, *unreadable, *impossible]
    if not cells and not found:
        found.append(
            grid.source.problem((), "the grid has no cell; give pretrain and evaluate blocks that match")
        )
    if found:
        raise GridError(found)
    notes += [
        Note(
            "assumed",
            f"assumed: {info.n_train:,} training and {info.n_test:,} test images of {info.name}, as its"
            " expect says; its files are missing, and run needs them",
        )
        for info in assumed
    ]
    notes += [
        Note("stored", f"{found}: {info.name}: {info.unread}, and run needs the images")
        for info in catalog.values()
        if info.unread
        for found in ["stored" if info.prepared else "missing"]
    ]
    notes += [
        Note("passed over", f"{info.name}: {text}")
        for info in catalog.values()
        if (text := summary(info.passed_over, info.n_train + info.n_test))
    ]
    notes += [
        Note("classes", f"classes: {name} has one class only, which is enough for pretraining")
        for name in sorted((pretrained - evaluated) & set(catalog))
        if catalog[name].n_classes == 1
    ]
    return cells, (*harmed, *notes, *_without_effect(cells), *_large(cells))


def _without_effect(cells: Iterable[Cell]) -> list[Note]:
    """Notes on corruptions that do not change images of the given size."""
    used: dict[tuple[str, int], None] = {}
    for cell in cells:
        size = cell.evaluation.size
        for pretraining in cell.encoders:
            used[pretraining.spec.corruption, size] = None
        used[cell.corruption, size] = None
    return [
        Note("corruption", f"corruption {text} changes nothing in images of {size} pixels")
        for text, size in used
        if text != "none" and parse_corruption(text).changes_nothing(size)
    ]


def _large(cells: Iterable[Cell]) -> list[Note]:
    """A note if the largest probe needs much memory beside its features."""
    most, what, name = float(_LARGE_BYTES), "", ""
    for cell in cells:
        classes = len(cell.evaluation.class_counts)
        size = protocol_of(cell.probe.config).memory(cell.probe.config, cell.probe.n_labels, classes)
        if size > most:
            most, what = size, f"{cell.probe.n_labels:,} labels of {classes:,} classes"
            name = cell.protocol
    text = f"memory: a {name} probe on {what} takes about {most / 1e9:,.0f} GB"
    return [Note("memory", text)] if what else []


def validate_grid(path: str | Path, overrides: Iterable[str] = ()) -> str:
    """One line about a valid grid.

    Raises:
        GridError: lists everything that is wrong with the file.
    """
    grid, cells = expand_grid(path, overrides)
    encoders = {p.id: p.trained for cell in cells for p in cell.encoders}
    return (
        f"{path} is valid: {len(cells):,} cells, {sum(encoders.values()):,} pretrainings,"
        f" {len(grid.datasets):,} {'dataset' if len(grid.datasets) == 1 else 'datasets'}"
    )
