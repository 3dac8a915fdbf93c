"""Loads a grid file: applies overrides, locates every problem and resolves paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from ssl_sweep.sweep.errors import GridError, Located, did_you_mean
from ssl_sweep.sweep.grid.axes import Model
from ssl_sweep.sweep.grid.blocks import protocol_problems, training_problems
from ssl_sweep.sweep.grid.dataset_paths import resolve_path
from ssl_sweep.sweep.grid.datasets import DATASETS, AnyDataset
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource, read_yaml
from ssl_sweep.sweep.grid.overrides import apply_overrides
from ssl_sweep.sweep.grid.schema import Compute, EvaluateBlock, Outline, PretrainBlock, Rule
from ssl_sweep.sweep.grid.validation import check_entry

T = TypeVar("T")
M = TypeVar("M", bound=Model)
_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A checked entry of the file and its place."""

    path: KeyPath
    value: T
    doubtful: frozenset[str] = frozenset()
    """Keys that have a problem already."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The content of a grid file."""

    name: str
    datasets: Mapping[str, Entry[AnyDataset]]
    pretrain: tuple[Entry[PretrainBlock], ...]
    evaluate: tuple[Entry[EvaluateBlock], ...]
    exclude: tuple[Entry[Rule], ...]
    leakage: Literal["drop", "report"]
    compute: Compute
    declared: frozenset[str]
    """Names of all datasets, valid or not."""
    source: YamlSource


def load_grid(path: str | Path, overrides: Iterable[str] = ()) -> Grid:
    """The grid of a file.

    Raises:
        GridError: every problem that can be found without looking at the datasets.
    """
    grid, problems = read_grid(path, overrides)
    if problems:
        raise GridError(problems)
    return grid


def read_grid(path: str | Path, overrides: Iterable[str] = ()) -> tuple[Grid, list[Located]]:
    """The valid parts of a grid file, and the problems of the rest.

    A caller can add the problems that only the datasets reveal, and report all of them at once.

    Raises:
        GridError: the file is not a YAML mapping.
    """
    source, problems = apply_overrides(read_yaml(Path(path)), overrides)
    grid, more = check_grid(source)
    return grid, problems + more


def check_grid(source: YamlSource) -> tuple[Grid, list[Located]]:
    """The valid parts of a grid, and the problems of the rest."""
    if not isinstance(source.data, dict):
        raise GridError([source.problem((), "a grid is a mapping: name, datasets, pretrain, evaluate")])
    check = _Check(source)
    outline = check.entry(Outline, source.data, ())
    declared = source.data.get("datasets")
    declared = declared if isinstance(declared, dict) else {}
    compute = check.entry(Compute, source.data.get("compute", {}), ("compute",))
    grid = Grid(
        name=outline.value.name if outline else "",
        datasets=check.datasets(declared),
        pretrain=check.blocks(PretrainBlock, "pretrain"),
        evaluate=check.blocks(EvaluateBlock, "evaluate"),
        exclude=check.rules(),
        leakage=outline.value.leakage if outline else "drop",
        compute=compute.value if compute else Compute(),
        declared=frozenset(declared),
        source=source,
    )
    for block in grid.pretrain:
        check.problems += training_problems(block.value, block.path, block.doubtful, source)
    for entry in grid.evaluate:
        check.problems += protocol_problems(entry.value, entry.path, entry.doubtful, source)
    return grid, check.problems + list(_unknown_domains(grid))


class _Check:
    """Checks the entries of a grid, section by section, and collects their problems."""

    def __init__(self, source: YamlSource) -> None:
        self._source = source
        self.problems: list[Located] = []

    def _problem(self, path: KeyPath, message: str, *, key: bool = False) -> None:
        self.problems.append(self._source.problem(path, message, key=key))

    def entry(self, model: type[M], data: Any, path: KeyPath) -> Entry[M] | None:
        """The entry, if it can be built at all."""
        value, doubtful, problems = check_entry(model, data, path, self._source)
        self.problems += problems
        return None if value is None else Entry(path, value, doubtful)

    def blocks(self, model: type[M], section: str) -> tuple[Entry[M], ...]:
        """The entries of a section that holds one block or a list of them."""
        found = (self.entry(model, data, path) for path, data in self._items(section))
        return tuple(entry for entry in found if entry is not None)

    def _items(self, section: str) -> Iterator[tuple[KeyPath, Any]]:
        data = self._source.data.get(section)
        if isinstance(data, list):
            yield from (((section, i), item) for i, item in enumerate(data))
        elif data is not None:
            yield (section,), data

    def rules(self) -> tuple[Entry[Rule], ...]:
        """The rules of ``exclude``."""
        adapter: TypeAdapter[Rule] = TypeAdapter(Rule)
        found = []
        for path, data in self._items("exclude"):
            try:
                found.append(Entry(path, adapter.validate_python(data)))
            except ValidationError:
                self._problem(path, "a rule maps results columns to a value or a list of values")
        return tuple(found)

    def datasets(self, declared: Mapping[str, Any]) -> dict[str, Entry[AnyDataset]]:
        """The valid datasets, by name. One with a wrong field is left out: it would be another dataset."""
        found: dict[str, Entry[AnyDataset]] = {}
        for name, data in declared.items():
            path: KeyPath = ("datasets", name)
            if not _DATASET_NAME.fullmatch(name):
                message = f"{name!r} cannot name a dataset; use letters, digits, _ . and -"
                self._problem(path, message, key=True)
            kind = data.get("source") if isinstance(data, dict) else None
            if not isinstance(kind, str) or kind not in DATASETS:
                message = f"no source {kind!r}{did_you_mean(str(kind), DATASETS)}"
                if kind is None:
                    message = f"datasets.{name} needs the key 'source' (one of: {', '.join(DATASETS)})"
                self._problem((*path, "source"), message)
            elif (resolved := self._resolved(data, DATASETS[kind].paths, path)) is not None:
                entry = self.entry(DATASETS[kind], resolved, path)
                if entry is not None and not entry.doubtful:
                    found[name] = entry
        return found

    def _resolved(self, data: dict[str, Any], keys: Iterable[str], path: KeyPath) -> dict[str, Any] | None:
        """The entry of a dataset with the paths under ``keys`` resolved; None if one cannot be."""
        resolved = dict(data)
        for key in keys:
            if isinstance(data.get(key), str):
                at = (*path, key)
                base = Path.cwd() if self._source.overridden(at) else self._source.folder
                try:
                    resolved[key] = resolve_path(data[key], base)
                except ValueError as error:
                    self._problem(at, str(error))
                    return None
        return resolved


def _unknown_domains(grid: Grid) -> Iterator[Located]:
    """Domains that are not the name of a dataset."""
    places = [(b.path, i, pool.names) for b in grid.pretrain for i, pool in enumerate(b.value.domain)]
    places += [(b.path, i, (name,)) for b in grid.evaluate for i, name in enumerate(b.value.domain)]
    for path, i, names in places:
        for name in names:
            if name not in grid.declared:
                message = f"no dataset {name!r}{did_you_mean(name, grid.declared)}"
                yield grid.source.problem(grid.source.axis_path(path, "domain", i), message)
