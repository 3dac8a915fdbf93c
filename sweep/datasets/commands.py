"""``ssl-sweep data list``, ``prepare`` and ``subset``: work on the datasets of a grid.

The rest of the grid need not be feasible, because only its datasets are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.errors import GridError, SweepError, did_you_mean, first_line
from ssl_sweep.sweep.grid.load import Grid, load_grid
from ssl_sweep.sweep.grid.sizes import parse_size
from ssl_sweep.sweep.planning.datasets import DatasetInfo, read_catalog
from ssl_sweep.sweep.planning.outputs import require_outside_images
from ssl_sweep.sweep.spec.specs import dataset_files
from ssl_sweep.sweep.stages.prepare import prepare_dataset
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.provenance import hardware
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.cores import cores

DATA_SCHEMA_VERSION = 1

_NAMED = dataset_files("ids", "keys")
"""The files of a prepared dataset that name its images."""

OnProgress = Callable[[str, int, int], None]
"""Receives the progress: dataset, images done, images in all."""


class Document:
    """The result of a command; ``--json`` prints it."""

    @property
    def exit_code(self) -> int:
        """1 if something is wrong."""
        return 0

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": DATA_SCHEMA_VERSION, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """A dataset of a grid. If it cannot be read, ``problem`` says why and the counts are None."""

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
    """A kind of source that a grid can name, or an embedded domain; ``about`` describes it."""

    name: str
    kind: str
    about: str


@dataclass(frozen=True)
class SourceList(Document):
    """The sources that exist without a grid."""

    sources: tuple[SourceRow, ...]


def list_datasets(path: Path, overrides: Iterable[str], store_uri: str) -> DatasetList:
    """The datasets of a grid, readable or not.

    Raises:
        GridError: the grid file is wrong.
    """
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
    """The outcome for a dataset. ``state``: prepared (by this command), complete (before it), or failed."""

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
    """The outcome for every requested dataset."""

    datasets: tuple[PreparedRow, ...]

    @property
    def exit_code(self) -> int:
        return 1 if any(row.state == "failed" for row in self.datasets) else 0


def prepare_datasets(
    path: Path, names: Sequence[str], store_uri: str, on_progress: OnProgress | None = None
) -> PreparedList:
    """Prepare the named datasets of a grid as ``run`` would, so that it finds them complete.

    If a dataset fails, the others are still prepared.

    Args:
        path: the grid file.
        names: names of datasets, default all; words with a ``=`` are overrides.
        store_uri: where results are kept.
        on_progress: called with the progress.

    Raises:
        GridError: the grid is wrong, or a requested dataset cannot be read.
        StoreError: the store cannot be used.
    """
    store = Store(store_uri)
    overrides = [name for name in names if "=" in name]
    require_outside_images(path, overrides, store.uri, "the store", "--store")
    store.check_writable()
    store.reconcile()
    grid = load_grid(path, overrides)
    wanted = tuple(dict.fromkeys(name for name in names if "=" not in name)) or tuple(grid.datasets)
    for name in wanted:
        require_known(grid, name)
    catalog, problems = read_catalog(grid, store)
    problems = [p for p in problems if p.dataset in wanted]
    if problems:
        raise GridError(problems)
    return PreparedList(tuple(_prepared(catalog[name], store, on_progress) for name in wanted))


def _prepared(info: DatasetInfo, store: Store, on_progress: OnProgress | None) -> PreparedRow:
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

    def advance(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(info.name, done, total)

    store.clear_failure("prepare", info.prepare_id)
    try:
        made = prepare_dataset(info.prepare_id, info.prepare, store, advance, cores())
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
    """The names of the datasets used for pretraining, and of those used for evaluation."""
    blocks = [block.value for block in grid.pretrain]
    pretrained = {name for block in blocks for pool in block.domain for name in pool.names}
    return pretrained, {name for block in grid.evaluate for name in block.value.domain}


def export_subset(
    path: Path, overrides: Iterable[str], store_uri: str, name: str, images: str, seed: int
) -> tuple[str, ...]:
    """The ids of the images that a sweep pretrains on with this ``images`` and this ``subset_seed``.

    They are in the order of the draw: the first n of them are the subset of n images.

    Raises:
        SweepError: a dataset is not prepared, it has too few images, or the seed is negative.
    """
    from ssl_sweep.data_ops.dataset.draws import leaked
    from ssl_sweep.data_ops.dataset.subsets import subset

    if seed < 0:
        raise SweepError(f"--seed {seed}: the seed must be 0 or more")
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
    """The prepared dataset, or with ``only`` some of its files.

    Raises:
        SweepError: the dataset is not prepared.
    """
    if store.complete("prepare", info.prepare_id) is None:
        raise SweepError(
            f"{info.name} is not prepared in {store.uri}",
            hint=f"run `ssl-sweep data prepare {path} {info.name}` with the same --store",
        )
    return PreparedDataset(store.fetch("prepare", info.prepare_id, only) / "data")


def require_known(grid: Grid, name: str) -> None:
    """Check that the grid has a dataset of this name.

    Raises:
        SweepError: it has none.
    """
    if name not in grid.datasets:
        raise SweepError(f"the grid has no dataset {name!r}{did_you_mean(name, grid.datasets)}")


def read_datasets(
    path: Path, overrides: Iterable[str], store: Store | None
) -> tuple[Grid, dict[str, DatasetInfo], dict[str, str]]:
    """The grid, its readable datasets by name, and for each of the others why it cannot be read."""
    grid = load_grid(path, overrides)
    catalog, problems = read_catalog(grid, store)
    return grid, catalog, {problem.dataset: problem.message for problem in problems}
