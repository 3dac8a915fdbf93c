"""The short table at the end of a run: what each pretraining is worth in each domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from ssl_sweep.sweep.planning.columns import CELL_COLUMNS, COLUMNS, ENCODER_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = ("method", "pretrain_domain", "images", "corruption", "encoder")
_SETTINGS = tuple(  # steps say the same as epochs, and depend on the images
    name
    for name, column in ENCODER_COLUMNS.items()
    if column.of not in ("id", "seed") and name not in (*_SHOWN, "steps")
)
_BUDGET = ("eval_domain", "labels", "n_labels", "draw", "eval_corruption", "label_imbalance")
_MORE = ("encoder", "subset_seed", "pretrain_seed", "probe_seed", *_BUDGET[3:], "status")
_PROTOCOL = tuple(  # fused_with says the same as the domains and methods
    name
    for name, column in CELL_COLUMNS.items()
    if column.of != "seed" and name not in (*_BUDGET, "protocol", "fused_with")
)


@dataclass(frozen=True)
class SummaryRow:
    """Mean top-1 of one kind of pretraining in one domain, at the domain's largest finished label budget."""

    pretraining: tuple[str, ...]
    """(method, domain, images, corruption, encoder), the last with the settings that the sweep varies."""
    eval_domain: str
    n_labels: int
    mean: float
    """Probe seeds are averaged first."""
    std: float | None
    """Standard deviation over encoders; None for one encoder."""
    n: int
    """Number of encoders: pretraining and subset seeds."""


def summary(table: pa.Table) -> list[SummaryRow]:
    """One row per pretraining and domain at the finest level, sorted. Uniform draws are preferred."""
    rows = [r for r in table.to_pylist() if r["status"] == "complete" and r["level_index"] == 0]
    varied = [*_varied_settings(rows), *_varied_protocols(rows)]
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], list[float]]] = {}
    for row in _largest_budgets(rows):
        key = (_sortable(row), _pretraining(row, varied), row["eval_domain"], row["n_labels"])
        encoder = (row["pretrain_seed"], row["subset_seed"])
        groups.setdefault(key, {}).setdefault(encoder, []).append(row["top1"])
    found = []
    for (_, pretraining, domain, n_labels), by_seed in sorted(groups.items(), key=lambda item: item[0]):
        means = [fmean(values) for values in by_seed.values()]
        std = stdev(means) if len(means) > 1 else None
        found.append(SummaryRow(pretraining, domain, n_labels, fmean(means), std, len(means)))
    return found


def shown_columns(rows: list[dict[str, Any]]) -> list[str]:
    """The columns that people see of these rows: the main ones, and those in which the rows differ."""
    more = [name for name in _MORE if len({row[name] for row in rows} - {None}) > 1]
    asked = ["eval_domain", "labels", *_varied_protocols(rows), "level", "top1"]
    return [*_SHOWN[:-1], *_varied_settings(rows), *asked, *more]


def _varied_settings(rows: list[dict[str, Any]]) -> list[str]:
    """The columns of settings of pretrainings that the sweep varies."""
    return [name for name in _SETTINGS if _varies(name, rows, ("method",))]


def _varied_protocols(rows: list[dict[str, Any]]) -> list[str]:
    """The columns that say how an encoder is evaluated and that the sweep varies."""
    ways = [name for name in _PROTOCOL if _varies(name, rows, ("eval_domain", "protocol"))]
    return [*(["protocol"] if _varies("protocol", rows, ("eval_domain",)) else []), *ways]


def reading_order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key: random encoders first, then method, domain and number of images, evaluation, and seeds."""
    asked = tuple(row[name] or 0 for name in ("n_labels", "pretrain_seed", "subset_seed", "probe_seed"))
    how = tuple(str(row[name]) for name in (*_SETTINGS, *_PROTOCOL))
    level = -1 if row["level_index"] is None else row["level_index"]
    return (*_sortable(row), row["eval_domain"], row["protocol"], *how, *asked, row["cell_id"], level)


def _varies(name: str, rows: list[dict[str, Any]], within: tuple[str, ...]) -> bool:
    """Whether a column differs among rows that are equal in the columns ``within``.

    Presets differ between methods, and settings between protocols; such differences are not a variation.
    """
    values: dict[tuple[Any, ...], set[Any]] = {}
    for row in rows:
        values.setdefault(tuple(row[other] for other in within), set()).add(row[name])
    return any(len(found) > 1 for found in values.values())


def _largest_budgets(rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """The rows at each domain's largest label budget, each probe once, of one kind of draw.

    Rows with clean test images and balanced labels are preferred.
    """
    for column, usual in (("eval_corruption", "none"), ("label_imbalance", 1.0)):
        rows = [row for row in rows if row[column] == usual] or rows
    largest: dict[str, int] = {}
    for row in rows:
        largest[row["eval_domain"]] = max(largest.get(row["eval_domain"], 0), row["n_labels"])
    chosen = [row for row in rows if row["n_labels"] == largest[row["eval_domain"]]]
    draws = {row["eval_domain"]: set[str]() for row in chosen}
    for row in chosen:
        draws[row["eval_domain"]].add(row["draw"])
    probes: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in chosen:
        if row["draw"] == max(draws[row["eval_domain"]]):  # "uniform" sorts after "stratified"
            # 500 and 10% can be the same label budget: two rows, one probe
            question = tuple(row[name] for name in ("eval_domain", "probe_seed", "protocol", *_PROTOCOL))
            probes.setdefault((row["pretrain_id"], *question), row)
    return probes.values()


def _pretraining(row: Mapping[str, Any], varied: list[str]) -> tuple[str, ...]:
    shown = ["" if row[name] is None else str(row[name]) for name in _SHOWN]
    settings = [
        f"{name} {row[name]}" for name in varied if row[name] not in (None, "", COLUMNS[name].neutral)
    ]
    return (*shown[:-1], ", ".join([shown[-1], *settings]))


def _sortable(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key: random encoders first, then method, domain and number of images."""
    return (row["method"] != "random", row["method"], row["pretrain_domain"], row["images"] or 0)
