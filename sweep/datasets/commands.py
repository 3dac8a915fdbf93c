"""`ssl-sweep data …`: what the datasets of a grid hold, what is wrong with them, and preparing them.

None of these needs the rest of the grid to be feasible: only its datasets are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.cost.machine import cores
from ssl_sweep.sweep.errors import GridError, Located, SweepError, did_you_mean, first_line
from ssl_sweep.sweep.grid.load import Grid, load_grid
from ssl_sweep.sweep.grid.sizes import parse_size
from ssl_sweep.sweep.planning.datasets import DatasetInfo, read_catalog
from ssl_sweep.sweep.stages.perform import prepare_dataset
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.provenance import hardware
from ssl_sweep.sweep.store.store import Store

DATA_SCHEMA_VERSION = 1

_NAMED = (
    "data/dataset.json",
    *(f"data/{s}_{what}.npy" for s in ("train", "test") for what in ("ids", "keys")),
)
"""What is read of a prepared dataset to name its images."""

Told = Callable[[str, int, int], None]  # dataset, images done, images in all


class Document:
    """What a command found; --json prints it."""

    @property
    def exit_code(self) -> int:
        """1 where something is wrong."""
        return 0

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": DATA_SCHEMA_VERSION, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """A dataset of a grid. Counts are None where `problem` says why it cannot be read."""

    name: str
    source: str
    size: int
    n_train: int | None = None
    n_labeled: int | None = None
    n_test: int | None = None
    prepared: bool = False
    problem: str = ""


@dataclass(frozen=True)
class DatasetList(Document):
    """The datasets of a grid."""

    datasets: tuple[DatasetRow, ...]


@dataclass(frozen=True)
class SourceRow:
    """A kind of source that a grid can name, or an embedded domain."""

    name: str
    kind: str
    about: str


@dataclass(frozen=True)
class SourceList(Document):
    """What there is without a grid."""

    sources: tuple[SourceRow, ...]


def list_datasets(path: Path, overrides: Iterable[str], store_uri: str) -> DatasetList:
    """The datasets of a grid, readable or not. GridError where the file itself is wrong."""
    store = Store(store_uri)
    grid, catalog, unreadable = read_datasets(path, overrides, store)
    rows = []
    for name, entry in grid.datasets.items():
        source, info = entry.value.source, catalog.get(name)
        if info is None:
            problem = unreadable.get(name, "cannot be read")
            rows.append(DatasetRow(name=name, source=source, size=entry.value.size, problem=problem))
            continue
        rows.append(
            DatasetRow(
                name=name,
                source=source,
                size=info.size,
                n_train=info.n_train,
                n_labeled=info.n_labeled,
                n_test=info.n_test,
                prepared=store.complete("prepare", info.prepare_id) is not None,
            )
        )
    return DatasetList(tuple(rows))


def list_sources() -> SourceList:
    """The kinds of sources and the embedded domains."""
    from ssl_sweep.data_ops.synthetic.domains import DOMAINS
    from ssl_sweep.sweep.grid.datasets import DATASETS

    kinds = [SourceRow(name, "source", _first_sentence(model.__doc__)) for name, model in DATASETS.items()]
    domains = [
        SourceRow(domain.name, "synthetic domain", _described(domain.levels, domain.lineage))
        for domain in DOMAINS.values()
    ]
    return SourceList((*kinds, *domains))


def _described(levels: Sequence[str], lineage: Sequence[Sequence[str]]) -> str:
    counts = [len(set(column)) for column in zip(*lineage, strict=True)]
    return "classes per level: " + ", ".join(f"{n} {level}" for n, level in zip(counts, levels, strict=True))


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")


@dataclass(frozen=True, kw_only=True)
class PreparedRow:
    """What became of a dataset. `state` is prepared (by this command), complete (it was), or failed."""

    name: str
    id: str
    state: str
    n_train: int = 0
    n_test: int = 0
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class PreparedList(Document):
    """What became of every dataset asked for."""

    datasets: tuple[PreparedRow, ...]

    @property
    def exit_code(self) -> int:
        return 1 if any(row.state == "failed" for row in self.datasets) else 0


def prepare_datasets(
    path: Path, names: Sequence[str], store_uri: str, told: Told | None = None
) -> PreparedList:
    """Prepare the named datasets of a grid, all where none is named, as `run` would, so that it finds them
    done. Of `names`, those with a = are overrides. A dataset that fails does not keep the others from being
    prepared; `told` hears of progress.

    Raises:
        GridError: the grid is wrong, or a dataset of those asked for cannot be read.
        StoreError: the store cannot be used.
    """
    store = Store(store_uri)
    store.check_writable()
    store.reconcile()
    grid = load_grid(path, [name for name in names if "=" in name])
    wanted = tuple(dict.fromkeys(name for name in names if "=" not in name)) or tuple(grid.datasets)
    for name in wanted:
        require_known(grid, name)
    catalog, problems = read_catalog(grid, store)
    problems = [p for p in problems if any(_is_of(p, name) for name in wanted)]
    if problems:
        raise GridError(problems)
    return PreparedList(tuple(_prepared(catalog[name], store, told) for name in wanted))


def _prepared(info: DatasetInfo, store: Store, told: Told | None) -> PreparedRow:
    manifest = store.complete("prepare", info.prepare_id)
    if manifest is not None:
        return PreparedRow(
            name=info.name,
            id=info.prepare_id,
            state="complete",
            n_train=info.n_train,
            n_test=info.n_test,
            skipped=tuple(manifest.outputs.get("skipped", ())),
        )
    started = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        if told is not None:
            told(info.name, done, total)

    store.clear_failure("prepare", info.prepare_id)
    try:
        made = prepare_dataset(info.prepare_id, info.prepare, store, on_progress, cores())
    except (DataError, OSError) as error:
        failure = Failure(kind="data", message=first_line(error), hardware=hardware())
        store.fail("prepare", info.prepare_id, failure)
        return PreparedRow(name=info.name, id=info.prepare_id, state="failed", problem=str(error))
    return PreparedRow(
        name=info.name,
        id=info.prepare_id,
        state="prepared",
        n_train=made.n_train,
        n_test=made.n_test,
        skipped=tuple(made.skipped),
        seconds=time.monotonic() - started,
    )


def roles(grid: Grid) -> tuple[set[str], set[str]]:
    """The names of the datasets that are pretrained on, and of those that are evaluated on."""
    blocks = [block.value for block in grid.pretrain]
    pretrained = {name for block in blocks for pool in block.domain for name in pool.names}
    return pretrained, {name for block in grid.evaluate for name in block.value.domain}


def export_subset(
    path: Path, overrides: Iterable[str], store_uri: str, name: str, images: str, seed: int
) -> tuple[str, ...]:
    """Ids of the subset that a sweep pretrains on with these `images` and `subset_seed`, in the order of the
    draw: the first n of them are the subset of n images.

    Raises:
        SweepError: a dataset is not prepared, there are not so many images, or the seed is negative.
    """
    from ssl_sweep.data_ops.dataset.pool import leaked
    from ssl_sweep.data_ops.dataset.subsets import subset

    if seed < 0:
        raise SweepError(f"--seed {seed}: a subset_seed is 0 or more")
    store = Store(store_uri)
    grid = load_grid(path, overrides)
    require_known(grid, name)
    catalog, problems = read_catalog(grid, store)
    if problems:
        raise GridError(problems)
    data = open_prepared(catalog[name], store, path, _NAMED)
    pretrained, evaluated = roles(grid)
    guarded = evaluated if grid.leakage == "drop" and name in pretrained else set()
    free = ~leaked(data, [open_prepared(catalog[other], store, path, _NAMED) for other in sorted(guarded)])
    keys, ids = data.keys("train")[free], data.ids("train")[free]
    try:
        n = parse_size(images).resolve(len(keys))
        return tuple(map(str, ids[subset(keys, n, seed)]))
    except (DataError, ValueError) as error:
        raise SweepError(f"--images {images}: {error}") from error


def open_prepared(info: DatasetInfo, store: Store, path: Path, only: Sequence[str] = ()) -> PreparedDataset:
    """`only` some of its files. SweepError where the dataset is not prepared yet."""
    if store.complete("prepare", info.prepare_id) is None:
        raise SweepError(
            f"{info.name} is not prepared in {store.uri}",
            hint=f"ssl-sweep data prepare {path} {info.name} (with the same --store)",
        )
    return PreparedDataset(store.fetch("prepare", info.prepare_id, only) / "data")


def require_known(grid: Grid, name: str) -> None:
    if name not in grid.datasets:
        raise SweepError(f"the grid has no dataset {name!r}{did_you_mean(name, grid.datasets)}")


def read_datasets(
    path: Path, overrides: Iterable[str], store: Store | None
) -> tuple[Grid, dict[str, DatasetInfo], dict[str, str]]:
    """The grid, the datasets that can be sized up, and for each of the others why not."""
    grid = load_grid(path, overrides)
    catalog, problems = read_catalog(grid, store)
    unreadable = {
        name: problem.message.removeprefix(f"datasets.{name}: ")
        for name in grid.datasets
        for problem in problems
        if _is_of(problem, name)
    }
    return grid, catalog, unreadable


def _is_of(problem: Located, name: str) -> bool:
    """Whether a problem of the catalogue is that of the dataset `name`."""
    return problem.message.startswith(f"datasets.{name}: ")
