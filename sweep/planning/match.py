"""Rules over results columns: ``exclude`` removes cells, ``match`` chooses the encoders of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.errors import Located, did_you_mean
from ssl_sweep.sweep.grid.axes import Scalar
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource
from ssl_sweep.sweep.grid.schema import Rule
from ssl_sweep.sweep.grid.sizes import parse_size
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.columns import ENCODER_COLUMNS, RULE_COLUMNS
from ssl_sweep.sweep.spec.columns import Value


@dataclass(frozen=True)
class Matcher:
    """A checked rule."""

    path: KeyPath
    """Where the rule stands in the grid."""
    wanted: Mapping[str, frozenset[str]]
    """Column → the wanted values, each in its one spelling."""

    def fits(self, pretraining: Pretraining, cell: Cell | None = None) -> bool:
        """Whether every column has one of its wanted values.

        ``cell`` may be None if the rule names only columns of pretrainings.
        """
        return all(_has(column, values, pretraining, cell) for column, values in self.wanted.items())


def matcher(
    rule: Rule, path: KeyPath, source: YamlSource, *, pretraining_only: bool
) -> tuple[Matcher, list[Located]]:
    """The rule without the columns that have a problem, and these problems."""
    known = ENCODER_COLUMNS if pretraining_only else RULE_COLUMNS
    wanted: dict[str, frozenset[str]] = {}
    problems = []
    for column, values in rule.items():
        if column not in known:
            message = f"no results column {column!r} that a rule can use{did_you_mean(column, known)}"
            problems.append(source.problem((*path, column), message, key=True))
            continue
        try:
            wanted[column] = frozenset(spelled(column, value) for value in values)
        except (ValueError, DataError) as error:
            problems.append(source.problem((*path, column), f"{column}: {error}"))
    if not rule:
        problems.append(source.problem(path, "an empty rule; name at least one results column"))
    return Matcher(path, wanted), problems


def no_match(matcher: Matcher, cells: Iterable[tuple[Pretraining, Cell | None]], what: str) -> str:
    """Why a rule matches none of ``cells``: the first value that none of them has, and a similar one."""
    everything = list(cells)
    for column, values in matcher.wanted.items():
        if not any(_has(column, values, pretraining, cell) for pretraining, cell in everything):
            present = {_value(column, pretraining, cell) for pretraining, cell in everything} - {""}
            value = sorted(values)[0]
            return f"no {what} has {column} {value!r}{did_you_mean(value, present)}"
    return f"no {what} matches all values of this rule"


def spelled(column: str, value: Scalar) -> str:
    """A wanted value in the spelling that ``Matcher`` compares.

    Raises:
        ValueError, DataError: the column cannot have this value.
    """
    match column:
        case "images" | "labels":
            return parse_size(value).canonical
        case "pretrain_domain":
            return "+".join(sorted(str(value).split("+")))
        case "corruption" | "eval_corruption":
            return parse_corruption(str(value)).canonical
        case _:
            return _spelling(value)


def _has(column: str, values: frozenset[str], pretraining: Pretraining, cell: Cell | None) -> bool:
    if column == "images" and pretraining.images is not None:
        return pretraining.images in {_size(value).resolve(pretraining.available) for value in values}
    return _value(column, pretraining, cell) in values


_size = lru_cache(maxsize=1024)(parse_size)


def _value(column: str, pretraining: Pretraining, cell: Cell | None) -> str:
    """The spelling of what a cell has in a column."""
    if column == "labels" and cell is not None:
        return cell.labels.canonical
    found = RULE_COLUMNS[column]
    return _spelling(found.value(pretraining if found.source == "encoder" else cell))


def _spelling(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
