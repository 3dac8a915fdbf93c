"""Loads a grid file: overrides, validation with every problem located, paths resolved.

A relative path in the file starts from the file's folder; one given by an override starts from the current
directory, where it was typed. `${VAR}` and `${VAR:-default}` in paths of datasets come from the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.ssl_core.config.registry import USED_BY, looks_at
from ssl_sweep.sweep.errors import GridError, Located, did_you_mean
from ssl_sweep.sweep.grid.axes import Model
from ssl_sweep.sweep.grid.datasets import DATASETS, AnyDataset
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource, read_yaml
from ssl_sweep.sweep.grid.overrides import NOT_FOR_RANDOM, apply_overrides
from ssl_sweep.sweep.grid.schema import Compute, EvaluateBlock, Outline, PretrainBlock, Rule
from ssl_sweep.sweep.grid.validation import check_entry, path_text
from ssl_sweep.sweep.spec.specs import UNTRAINED
from ssl_sweep.sweep.util.addresses import CREDENTIALS_HINT, malformed, secret_in

T = TypeVar("T")
M = TypeVar("M", bound=Model)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_BRACES, _BOUNDS = re.compile(r"\{([^{}]*)\}"), re.compile(r"([0-9]+)\.\.([0-9]+)")
_SHARDS, _DIGITS = 1_000_000, 18
_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A checked entry of the file and where it stands. `doubtful` keys have a problem already."""

    path: KeyPath
    value: T
    doubtful: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid file's content. `declared` are the names of all datasets, sound or not."""

    name: str
    datasets: Mapping[str, Entry[AnyDataset]]
    pretrain: tuple[Entry[PretrainBlock], ...]
    evaluate: tuple[Entry[EvaluateBlock], ...]
    exclude: tuple[Entry[Rule], ...]
    leakage: Literal["drop", "report"]
    compute: Compute
    declared: frozenset[str]
    source: YamlSource


def load_grid(path: str | Path, overrides: Iterable[str] = ()) -> Grid:
    """The grid of a file; GridError with every problem that shows without looking at the datasets."""
    grid, problems = read_grid(path, overrides)
    if problems:
        raise GridError(problems)
    return grid


def read_grid(path: str | Path, overrides: Iterable[str] = ()) -> tuple[Grid, list[Located]]:
    """The sound parts of a grid and the problems of the rest, so that a caller can add those that only
    show with the datasets. GridError where the file is no YAML mapping."""
    source, problems = apply_overrides(read_yaml(Path(path)), overrides)
    grid, more = check_grid(source)
    return grid, problems + more


def check_grid(source: YamlSource) -> tuple[Grid, list[Located]]:
    """The sound parts of a grid and the problems of the rest."""
    if not isinstance(source.data, dict):
        raise GridError([source.problem((), "a grid is a mapping: name, datasets, pretrain, evaluate")])
    outline, _, problems = check_entry(Outline, source.data, (), source)
    declared = source.data.get("datasets")
    grid = Grid(
        name=outline.name if outline else "",
        datasets=_datasets(declared if isinstance(declared, dict) else {}, source, problems),
        pretrain=tuple(_blocks(PretrainBlock, "pretrain", source, problems)),
        evaluate=tuple(_blocks(EvaluateBlock, "evaluate", source, problems)),
        exclude=tuple(_rules(source, problems)),
        leakage=outline.leakage if outline else "drop",
        compute=_compute(source, problems),
        declared=frozenset(declared) if isinstance(declared, dict) else frozenset(),
        source=source,
    )
    more = (*_name_problems(grid), *_random_problems(grid), *_protocol_problems(grid))
    return grid, problems + list(more)


def _datasets(
    declared: Mapping[str, Any], source: YamlSource, problems: list[Located]
) -> dict[str, Entry[AnyDataset]]:
    found: dict[str, Entry[AnyDataset]] = {}
    for name, data in declared.items():
        path: KeyPath = ("datasets", name)
        if not _DATASET_NAME.fullmatch(name):
            message = f"{name!r} cannot name a dataset; use letters, digits, _ . and -"
            problems.append(source.problem(path, message, key=True))
        kind = data.get("source") if isinstance(data, dict) else None
        if not isinstance(kind, str) or kind not in DATASETS:
            message = f"no source {kind!r}{did_you_mean(str(kind), DATASETS)}"
            if kind is None:
                message = f"datasets.{name} needs the key 'source' (one of: {', '.join(DATASETS)})"
            problems.append(source.problem((*path, "source"), message))
            continue
        try:
            data = _with_paths(data, DATASETS[kind].paths, path, source, problems)
        except LookupError:
            continue
        entry, doubtful, more = check_entry(DATASETS[kind], data, path, source)
        problems += more
        if entry is not None and not doubtful:  # with a wrong field it would be another dataset
            found[name] = Entry(path, entry)
    return found


def _with_paths(
    data: dict[str, Any], keys: tuple[str, ...], path: KeyPath, source: YamlSource, problems: list[Located]
) -> dict[str, Any]:
    """The entry with its paths, those under `keys`, expanded and made absolute; addresses of object stores
    are only expanded. LookupError, the problem noted, where one has no value or holds a secret."""
    expanded = dict(data)
    for key in keys:
        if isinstance(data.get(key), str):
            at = (*path, key)
            base = Path.cwd() if source.overridden(at) else source.folder
            try:
                text = _environment(data[key])
                local = not is_remote(text)
                _require_plain(text)
                if data["source"] == "webdataset":
                    _require_few(text)
                expanded[key] = os.path.normpath(base / Path(text).expanduser()) if local else text
            except (LookupError, RuntimeError) as error:
                problems.append(source.problem(at, str(error.args[0])))
                raise LookupError from None
    return expanded


def _require_plain(text: str) -> None:
    """LookupError for an address that cannot be read, or that holds a secret."""
    if secret := secret_in(text):
        raise LookupError(f"an address with {secret} in it, which would be kept with every result; {CREDENTIALS_HINT}")
    if is_remote(text) and (why := malformed(text)):
        raise LookupError(f"{text!r} is no address: {why}")


def _require_few(text: str) -> None:
    """LookupError where the braces of a name stand for more shards than anybody has."""
    names = 1
    for inside in _BRACES.findall(text):
        bounds = _BOUNDS.fullmatch(inside)
        # Of more digits than these Python itself makes no number.
        low, high = (int(each[-_DIGITS:]) for each in bounds.groups()) if bounds else (0, inside.count(","))
        many = bounds is not None and any(len(each.lstrip("0")) > _DIGITS for each in bounds.groups())
        names *= _SHARDS + 1 if many else max(0, high - low + 1)
    if names > _SHARDS:
        raise LookupError(
            f"{text!r} stands for more than {_SHARDS:,} shards; check the numbers in its braces"
        )


def _environment(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        found = os.environ.get(name, "")
        if found or default is not None:
            return found or str(default)
        raise LookupError(f"the environment variable {name} is not set; set it or write ${{{name}:-a/path}}")

    return _VARIABLE.sub(value, text)


def _entries(section: str, source: YamlSource) -> Iterator[tuple[KeyPath, Any]]:
    data = source.data.get(section)
    if isinstance(data, list):
        yield from (((section, i), item) for i, item in enumerate(data))
    elif data is not None:
        yield (section,), data


def _blocks(model: type[M], section: str, source: YamlSource, problems: list[Located]) -> Iterator[Entry[M]]:
    for path, data in _entries(section, source):
        value, doubtful, more = check_entry(model, data, path, source)
        problems += more
        if value is not None:
            yield Entry(path, value, doubtful)


def _rules(source: YamlSource, problems: list[Located]) -> Iterator[Entry[Rule]]:
    adapter: TypeAdapter[Rule] = TypeAdapter(Rule)
    for path, data in _entries("exclude", source):
        try:
            yield Entry(path, adapter.validate_python(data))
        except ValidationError:
            problems.append(
                source.problem(path, "a rule maps results columns to a value or a list of values")
            )


def _compute(source: YamlSource, problems: list[Located]) -> Compute:
    if "compute" not in source.data:
        return Compute()
    value, _, more = check_entry(Compute, source.data["compute"], ("compute",), source)
    problems += more
    return value or Compute()


def _name_problems(grid: Grid) -> Iterator[Located]:
    """Domains that no dataset is named after."""
    for block in grid.pretrain:
        for i, pool in enumerate(block.value.domain):
            yield from _unknown_domains(grid, pool.names, _axis_path(grid, block.path, "domain", i))
    for entry in grid.evaluate:
        for i, name in enumerate(entry.value.domain):
            yield from _unknown_domains(grid, (name,), _axis_path(grid, entry.path, "domain", i))


def _unknown_domains(grid: Grid, names: Iterable[str], path: KeyPath) -> Iterator[Located]:
    for name in names:
        if name not in grid.declared:
            message = f"no dataset {name!r}{did_you_mean(name, grid.declared)}"
            yield grid.source.problem(path, message)


def _axis_path(grid: Grid, block: KeyPath, key: str, i: int) -> KeyPath:
    """Where value `i` of an axis stands: the value itself, where it is not in a list."""
    path = (*block, key, i)
    return path if path in grid.source.marks else path[:-1]


def _random_problems(grid: Grid) -> Iterator[Located]:
    """Pretrain blocks that lack what a training needs, or give a random encoder what it has no use for."""
    for entry in grid.pretrain:
        block = entry.value
        given = block.model_fields_set
        if "method" in entry.doubtful:
            continue
        if "weights" in block.method and not block.weights and "weights" not in entry.doubtful:
            message = f"{path_text(entry.path)} needs the key 'weights': a file, or a name of torchvision's"
            yield grid.source.problem(entry.path, message, key=True)
        if "weights" in given and "weights" not in block.method:
            message = f"weights: {', '.join(block.method)} takes none; give them to method weights"
            yield grid.source.problem((*entry.path, "weights"), message, key=True)
        if set(block.method) <= UNTRAINED:
            unused = NOT_FOR_RANDOM if "random" in block.method else NOT_FOR_RANDOM | {"seed"}
            for key in sorted(unused & given):
                takes = "a random encoder takes" if "random" in block.method else "given weights take"
                message = f"{key}: {takes} none; give it in a block of its own without {key}"
                yield grid.source.problem((*entry.path, key), message, key=True)
            continue
        counted = bool(block.domain) and all(pool.counted for pool in block.domain)
        if counted and "images" in given:
            message = "images: the pools of this block give their sizes themselves; leave it out"
            yield grid.source.problem((*entry.path, "images"), message, key=True)
        for key, methods in USED_BY.items():
            if key in given and not any(looks_at(method, key) for method in block.method):
                message = f"{key}: {', '.join(block.method)} has none; it is of {', '.join(sorted(methods))}"
                yield grid.source.problem((*entry.path, key), message, key=True)
        for key in ("domain",) if counted else ("domain", "images"):
            if key not in given and key not in entry.doubtful:
                message = f"{path_text(entry.path)} needs the key {key!r}"
                yield grid.source.problem(entry.path, message, key=True)


_OF_PROTOCOL = {
    "finetune_": "fine-tune",
    "knn_": "knn",
    "c_path": "linear",
    "representation": "linear or knn",
}
"""How a setting begins, and the protocols that look at it."""
_WITHOUT = {
    "fine-tune": "fine-tunes nothing",
    "knn": "looks for no neighbours",
    "linear": "has no linear probe",
}


def _protocol_problems(grid: Grid) -> Iterator[Located]:
    """Settings of a protocol that the block does not have, which would do nothing."""
    for entry in grid.evaluate:
        if "protocol" in entry.doubtful:
            continue
        for key in sorted(entry.value.model_fields_set - entry.doubtful):
            wanted = next((of for start, of in _OF_PROTOCOL.items() if key.startswith(start)), None)
            if wanted and not set(wanted.split(" or ")) & set(entry.value.protocol):
                without = _WITHOUT.get(wanted, "only fine-tunes, which reads no features")
                message = f"{key}: this block {without}; add protocol: {wanted}, or leave it out"
                yield grid.source.problem((*entry.path, key), message, key=True)
