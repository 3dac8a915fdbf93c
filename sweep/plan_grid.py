"""One call from a grid file to its plan, with every problem of the file reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sweep.catalog import read_catalog
from sweep.cells import Cell
from sweep.errors import GridError
from sweep.expand import expand_all
from sweep.grid import Grid, read_grid
from sweep.plan import Plan, plan
from sweep.store import Store


def plan_grid(path: str | Path, overrides: Iterable[str], store: Store) -> tuple[Grid, Plan]:
    """The grid and its plan; GridError with all that is wrong with the file, its names and its sizes."""
    grid, cells = expand_grid(path, overrides, store)
    return grid, plan(cells, store, grid.name)


def expand_grid(
    path: str | Path, overrides: Iterable[str] = (), store: Store | None = None
) -> tuple[Grid, tuple[Cell, ...]]:
    """The grid and its cells. Without a store every dataset counts as unprepared."""
    grid, problems = read_grid(path, overrides)
    catalog, unreadable = read_catalog(grid, store)
    cells, impossible = expand_all(grid, catalog)
    found = [*problems, *unreadable, *impossible]
    if not cells and not found:
        found.append(grid.source.problem((), "the grid has no cell"))
    if found:
        raise GridError(found)
    return grid, cells


def validate_grid(path: str | Path, overrides: Iterable[str] = ()) -> str:
    """One line on a valid grid; GridError otherwise."""
    grid, cells = expand_grid(path, overrides)
    encoders = {cell.pretraining.id: cell.pretraining.trained for cell in cells}
    return (
        f"{path} is valid: {len(cells):,} cells, {sum(encoders.values()):,} pretrainings,"
        f" {len(grid.datasets):,} datasets"
    )
