"""Cells that differ in one thing only: what every claim compares.

Two results compare like with like if all columns that say how the encoder was made and how it was evaluated
are equal, except the compared column, those that follow from it, and the seeds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssl_sweep.ssl_core.config.finetune import default_finetune
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.sweep.planning.columns import COLUMNS
from ssl_sweep.sweep.protocols import PROTOCOLS
from ssl_sweep.sweep.report.frame import EVALUATION, PRETRAINING, SEEDS
from ssl_sweep.sweep.report.statistics import Runs, positions
from ssl_sweep.sweep.report.style import method_name

RECIPE = tuple(name for name, column in COLUMNS.items() if column.of == "recipe")
"""Settings that differ between methods because each has a preset."""
SAME_IMAGES = (
    *(name for name, column in COLUMNS.items() if column.of == "images"),
    *("encoder", "image_size", *EVALUATION),
)
"""What has to be equal between methods: the images, the architecture and the evaluation."""
HOW_CLASSIFIED = ("protocol", *(name for name, column in COLUMNS.items() if column.of in PROTOCOLS))
_SHOWN_AS = {
    "images": "{:,.0f} images",
    "epochs": "{:g} epochs",
    "batch": "batch {:g}",
    "pretrain_domain": "pretrained on {}",
    "corruption": "damage {}",
}


_Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Comparison:
    """Results that differ in the compared columns only."""

    same: Mapping[str, Hashable]
    """Values of the equal columns."""
    sides: Mapping[Any, Runs]
    """The runs for each compared value, in ascending order."""
    chosen: str = ""
    """How a side was chosen if the sweep has it with several schedules, such as ``2,000 steps, the longest of
    150 and 2,000 steps``."""

    @property
    def budget(self) -> int:
        """Labelled images."""
        return int(str(self.same["n_labels"]))


@dataclass(frozen=True)
class Family:
    """Comparisons that differ in the label budget only."""

    scope: str
    """Names the family among the others."""
    budgets: Mapping[int, Comparison]
    """By labelled images, ascending."""


def equal_but_for(rows: pd.DataFrame, axis: str, also: Sequence[str] = ()) -> list[Comparison]:
    """All comparisons of two or more values of the column ``axis``.

    Columns in ``also`` follow from it and may differ. If one value comes with several combinations of them,
    the most common one is taken; in a tie, the one with the smallest values.
    """
    keys = [name for name in (*PRETRAINING, *EVALUATION) if name != axis and name not in also]
    codes, values = _factorized(rows[axis])
    variants = _codes(rows, also)
    known = np.flatnonzero(codes >= 0)
    groups = [known[group] for group in positions(_codes(rows, keys)[known])]
    found = [group for group in groups if np.ptp(codes[group]) > 0]
    runs = Runs.of(rows)
    comparisons = []
    for group, same in zip(found, _values(rows, [group[0] for group in found], keys), strict=True):
        sides = {}
        for code in np.unique(codes[group]):
            side = group[codes[group] == code]
            sides[values[code]] = runs.take(_commonest(side, variants))
        comparisons.append(Comparison(same, sides))
    return comparisons


def against(
    first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str], differing: Sequence[str]
) -> list[Comparison]:
    """Every question of ``first`` beside the one of ``second`` that differs at most in ``differing``.

    If there are several, the one with the most optimisation steps of its fit is taken: test labels choose no
    schedule, and a short one is no rival. If several are equally long, the most common is taken. ``names``
    are the keys of the two sides.
    """
    columns = [*PRETRAINING, *EVALUATION]
    keys = [name for name in columns if name not in differing]
    codes = _codes(pd.concat([first[columns], second[columns]], ignore_index=True), keys)
    mine, theirs = codes[: len(first)], codes[len(first) :]
    others = {int(theirs[group[0]]): group for group in positions(theirs)}
    variants, steps = _codes(second, differing), _fit_steps(second)
    found = [group for group in positions(_codes(first, columns)) if int(mine[group[0]]) in others]
    left, right = Runs.of(first), Runs.of(second)
    comparisons = []
    for group, same in zip(found, _values(first, [group[0] for group in found], columns), strict=True):
        rivals = others[int(mine[group[0]])]
        longest = rivals[steps[rivals] == steps[rivals].max()]
        sides = {names[0]: left.take(group), names[1]: right.take(_commonest(longest, variants))}
        comparisons.append(Comparison(same, sides, _longest_of(names[1], np.unique(steps[rivals]))))
    return comparisons


def _longest_of(name: str, steps: npt.NDArray[np.int64]) -> str:
    if len(steps) < 2:
        return ""
    others = " and ".join(f"{value:,}" for value in steps[:-1])
    return f"{name} has {steps[-1]:,} steps, the longest schedule here; {others} steps are not compared"


def _fit_steps(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Optimisation steps of the fit of each row; 0 if it is not a fine-tuning."""
    names = ["encoder", "image_size", "n_labels", "finetune_steps", "finetune_epochs"]
    codes, questions = _codes(rows, names), rows[names].astype(object)
    steps = np.zeros(len(rows), np.int64)
    for group in positions(codes):
        steps[group] = _steps(*questions.iloc[group[0]])
    return steps


def _steps(encoder: str, image_size: int, labels: int, steps: float, epochs: float) -> int:
    if not pd.isna(steps):
        return int(steps)
    if pd.isna(epochs):
        return 0
    known = encoder if encoder in ENCODERS else "resnet50"  # an added encoder has the general preset
    return default_finetune(known, int(image_size), steps=0, epochs=int(epochs)).total_steps(int(labels))


def beside(
    first: Iterable[Comparison], second: Sequence[Comparison], names: tuple[str, str], equal: Sequence[str]
) -> list[Comparison]:
    """Each of ``first`` with the one of ``second`` whose ``equal`` columns are equal.

    If there are several, the one that is equal in most other columns is taken, of those the one that was
    pretrained longest. The sides are keyed by (name, value), for the values that both have.
    """
    known: dict[tuple[Hashable, ...], list[Comparison]] = {}
    for one in second:
        known.setdefault(tuple(one.same.get(name) for name in equal), []).append(one)
    found = []
    for one in first:
        matches = known.get(tuple(one.same.get(name) for name in equal), [])
        if not matches:
            continue
        other = max(matches, key=lambda match: (_equal_columns(match, one), *_length(match)))
        sides = {
            (name, value): part.sides[value]
            for name, part in zip(names, (one, other), strict=True)
            for value in one.sides
            if value in other.sides
        }
        found.append(Comparison(one.same, sides))
    return found


def _equal_columns(one: Comparison, other: Comparison) -> int:
    return sum(one.same[name] == other.same.get(name) for name in one.same)


def _length(one: Comparison) -> tuple[float, ...]:
    """Epochs and steps of the pretraining; 0 if the column is the compared one or empty."""
    return tuple(float(str(one.same.get(name) or 0)) for name in ("epochs", "steps"))


def families(comparisons: Iterable[Comparison]) -> list[Family]:
    """The comparisons grouped by everything but the label budget, each with the shortest distinct scope."""
    grouped: dict[tuple[Hashable, ...], dict[int, Comparison]] = {}
    for one in comparisons:
        key = tuple(value for name, value in one.same.items() if name != "n_labels")
        grouped.setdefault(key, {})[one.budget] = one
    members = [dict(sorted(budgets.items())) for budgets in grouped.values()]
    scopes = _scopes([next(iter(budgets.values())).same for budgets in members])
    return [Family(scope, budgets) for scope, budgets in zip(scopes, members, strict=True)]


def largest(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows with the largest value of a column for each dataset, method and encoder."""
    most = rows.groupby(["eval_domain", "method", "encoder"], observed=True)[column].transform("max")
    return rows[rows[column] == most]


def _scopes(same: Sequence[Mapping[str, Hashable]]) -> list[str]:
    """The evaluation domain and, in turn, each column that separates scopes that are still equal."""
    shown = ["eval_domain"]
    order = ["method", "pretrain_domain", "images", "epochs", *PRETRAINING, *EVALUATION]
    for name in dict.fromkeys(order):
        groups: dict[tuple[Hashable, ...], set[Hashable]] = {}
        for one in same:
            groups.setdefault(tuple(one.get(key) for key in shown), set()).add(one.get(name))
        if name not in (*shown, "n_labels") and any(len(values) > 1 for values in groups.values()):
            shown.append(name)
    return [", ".join(_shown(name, one[name]) for name in shown if one.get(name) is not None) for one in same]


def _shown(name: str, value: Hashable) -> str:
    if name in ("eval_domain", "protocol"):
        return str(value)
    if name == "method":
        return method_name(value)
    form = _SHOWN_AS.get(name, name.replace("_", " ") + (" {:g}" if isinstance(value, float) else " {}"))
    return form.format(value)


# Grouping ---------------------------------------------------------------------------------------------


def _codes(rows: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """One number per row, equal if all these columns are equal; missing values equal each other."""
    total = np.zeros(len(rows), np.int64)
    room = 1
    for name in names:
        codes, values = _factorized(rows[name])
        if len(codes) == 0 or codes.min() == codes.max():
            continue
        room *= len(values) + 1
        if room >= 2**62:  # renumber the combinations that occur
            total = np.unique(total, return_inverse=True)[1]
            room = (len(rows) + 1) * (len(values) + 1)
        total = total * (len(values) + 1) + codes + 1
    return total


def _factorized(column: pd.Series) -> tuple[npt.NDArray[np.int64], Sequence[Hashable]]:
    """A number per row by ascending value, -1 for a missing one; and the values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(np.int64), column.cat.categories
    codes, values = pd.factorize(column, sort=True)
    return codes.astype(np.int64), values


def _commonest(group: _Positions, variants: npt.NDArray[np.int64]) -> _Positions:
    """The positions in ``group`` of its most common variant; in a tie, the one with the smallest values."""
    found, counts = np.unique(variants[group], return_counts=True)
    if len(found) == 1:
        return group
    return group[variants[group] == found[counts.argmax()]]


def _values(rows: pd.DataFrame, at: Sequence[int], names: Sequence[str]) -> list[dict[str, Hashable]]:
    """The columns' values at these positions; None for missing ones."""
    chosen = rows[list(names)].iloc[list(at)].astype(object)
    records: list[dict[str, Hashable]] = chosen.where(chosen.notna(), None).to_dict("records")
    return records


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows sorted by what they are, so that no choice depends on the order of a table."""
    codes = _codes(rows, [*PRETRAINING, *EVALUATION, *SEEDS])
    return rows.iloc[np.argsort(codes, kind="stable")].reset_index(drop=True)


def compact(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with categories for text and settings: grouping a hundred thousand rows takes milliseconds.

    Columns that are compared with one another share their categories.
    """
    frame = frame.reset_index(drop=True)
    alike = [
        ("pretrain_domain", "eval_domain", "fused_domain"),
        ("method", "fused_method"),
        ("level", "train_level"),
    ]
    singles = [
        (name,)
        for name in (*PRETRAINING, *EVALUATION)
        if name not in ("images", "n_labels") and not any(name in group for group in alike)
    ]
    for group in (*alike, *singles):
        values = pd.unique(pd.concat([frame[name] for name in group]).dropna())
        kind = pd.CategoricalDtype(sorted(values))
        frame = frame.assign(**{name: frame[name].astype(kind) for name in group})
    return frame
