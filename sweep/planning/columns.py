"""The columns of the results table, in their order, and where each value comes from.

Programs read the table by position too: a column keeps its place, and a new one is added at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.ssl_core.evaluation.metrics import METRICS
from ssl_sweep.sweep.grid.schema import EvaluateBlock, PretrainBlock
from ssl_sweep.sweep.grid.views import policy_name
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.recipes import SETTINGS
from ssl_sweep.sweep.protocols import PROTOCOLS
from ssl_sweep.sweep.spec.columns import Column, Value


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one level of a cell."""

    cell: Cell
    status: str
    level: str | None = None
    """None before the dataset is prepared."""
    index: int | None = None
    """Position of ``level`` in the dataset; 0 is the finest."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Metrics by name, if the cell is finished. Those that are younger than it are absent."""
    missing: int | None = None
    """Classes of the learnt level without an image in the label budget."""


_encoder = partial(Column, of="encoder", source="encoder")
_images = partial(Column, of="images", source="encoder")
_seed = partial(Column, of="seed")
_fused = partial(Column, neutral="")
_outcome = partial(Column, of="outcome", source="outcome")


def _trained(
    name: str,
    kind: type,
    value: Callable[[Pretraining], Value],
    doc: str = "",
    *,
    of: str = "recipe",
    neutral: Value = None,
) -> Column:
    """A column of encoders that is empty for those that are not trained here."""
    return Column(name, kind, lambda p: value(p) if p.trained else None, doc, of, "encoder", neutral)


def _setting(name: str) -> Column:
    """The column of a field of the config that is a key of a pretrain block."""
    kind = type(PretrainConfig.__dataclass_fields__[name].default)
    return _trained(name, kind, lambda p: getattr(p.spec.config, name))


def _metric(name: str) -> Column:
    def value(outcome: Outcome) -> float | None:
        found = outcome.scores.get(name)
        return None if found is None else float(found)

    return Column(name, float, value, METRICS[name].doc, "score", "outcome")


def _of_cell(column: Column) -> Column:
    """A protocol's column as one of cells: empty for other protocols."""
    read = column.value
    return replace(column, value=lambda c: read(c.probe.config) if c.protocol == column.of else None)


def _epochs(p: Pretraining) -> int:
    """The given epochs, or the number of epochs that the given steps begin."""
    config = p.spec.config
    return math.ceil(config.steps * config.batch / (p.images or 1)) if config.steps else config.epochs


_rest = {
    column.name: column
    for column in (
        *(_setting(name) for name in SETTINGS if name not in ("epochs", "steps")),
        *map(_metric, METRICS),
        *(_of_cell(column) for protocol in PROTOCOLS.values() for column in protocol.columns),
    )
}
"""Columns that follow from other declarations and have no place yet."""

_ORDERED = (
    _outcome("cell_id", str, lambda o: o.cell.id, "Id of the cell.", of="id"),
    _encoder("pretrain_id", str, lambda p: p.id, "Id of the encoder.", of="id"),
    _encoder("method", str, lambda p: p.spec.config.method),
    _images("pretrain_domain", str, lambda p: p.domain, "Pretraining dataset; `a+b` for a pool.", neutral=""),
    _images("images", int, lambda p: p.images, "Number of pretraining images."),
    _trained("corruption", str, lambda p: p.spec.corruption, of="images", neutral=""),
    _encoder("encoder", str, lambda p: p.spec.config.encoder),
    _trained("epochs", int, _epochs, of="encoder"),
    _rest.pop("batch"),
    _trained("subset_seed", int, lambda p: p.seeds[0], of="seed"),
    _seed("pretrain_seed", int, lambda p: p.seeds[1], "Seed of the pretraining.", source="encoder"),
    Column("eval_domain", str, lambda c: c.evaluation.name, "Dataset of the evaluation."),
    Column("labels", str, lambda c: c.labels.text, "Label budget, as written in the grid."),
    Column("n_labels", int, lambda c: c.probe.n_labels, "Label budget, in images."),
    Column("draw", str, lambda c: c.probe.draw, neutral="uniform"),
    Column("protocol", str, lambda c: c.protocol, neutral="linear"),
    _outcome("level", str, lambda o: o.level, "Label level that is tested."),
    _seed("probe_seed", int, lambda c: c.probe.seed, "Seed of the label budget and of the folds."),
    *map(_rest.pop, ("top1", "top1_std_err", "top5", "balanced_accuracy")),
    _outcome("n_test", int, lambda o: o.scores.get("n_test"), "Number of test images."),
    _outcome("status", str, lambda o: o.status, "`complete`, `failed`, `blocked` or `missing`."),
    _encoder("image_size", int, lambda p: p.spec.config.image_size, "Side of an image in pixels."),
    *map(_rest.pop, ("optimizer", "learning_rate", "lr_scaling", "warmup_epochs", "weight_decay")),
    *map(_rest.pop, ("temperature", "head_layers", "head_dim")),
    _trained("strength", float, lambda p: round(p.spec.config.views.brightness / 0.8, 6)),
    _trained("blur", bool, lambda p: p.spec.config.views.blur > 0),
    _trained("view_mode", str, lambda p: p.spec.config.views.mode),
    _rest.pop("precision"),
    _outcome("level_index", int, lambda o: o.index, "Position of the level; 0 is the finest.", neutral=0),
    Column("eval_corruption", str, lambda c: c.corruption, "Corruption of the test images.", neutral="none"),
    Column(
        "label_imbalance",
        float,
        lambda c: c.probe.imbalance,
        "Long tail of the label budget, like `imbalance`.",
        neutral=1.0,
    ),
    _trained(
        "subset_draw",
        str,
        lambda p: p.spec.parts[0].draw,
        "How the images are drawn: uniformly or by class.",
        of="images",
    ),
    _trained("imbalance", float, lambda p: p.spec.parts[0].imbalance, of="images"),
    _images("pool_shares", str, lambda p: p.shares or None, "Given shares of a pool.", neutral=""),
    _outcome(
        "missing_classes",
        int,
        lambda o: o.missing,
        "Number of learnt classes without an image in the label budget.",
    ),
    _trained("views", str, lambda p: policy_name(p.view_policies), "View policy, or `custom`.", neutral=""),
    _trained(
        "steps", int, lambda p: p.spec.config.total_steps(p.images or 0), "Number of optimisation steps."
    ),
    *map(_rest.pop, ("momentum", "momentum_encoder", "queue", "predictor_dim", "grad_clip", "lars_form")),
    _encoder(
        "weights", str, lambda p: p.spec.config.weights or None, "Given weights.", of="recipe", neutral=""
    ),
    *map(_rest.pop, ("finetune_steps", "finetune_epochs")),
    Column("representation", str, lambda c: c.representation, neutral=FEATURES),
    Column("train_level", str, lambda c: c.train_level, "Label level that is learnt."),
    _fused("fused_with", str, lambda c: " + ".join(p.label for p in c.fused), "Encoders joined to this one."),
    _fused("fused_domain", str, lambda c: "+".join(p.domain for p in c.fused), "Their domains."),
    _fused("fused_method", str, lambda c: "+".join(p.spec.config.method for p in c.fused), "Their methods."),
    *map(_rest.pop, ("c_path", "knn_k", "knn_temperature")),
    *_rest.values(),  # until another column is added: then give these their places above it
)


def _described(column: Column) -> Column:
    block = PretrainBlock if column.source == "encoder" else EvaluateBlock
    return column if column.doc else replace(column, doc=block.model_fields[column.name].description or "")


COLUMNS: Mapping[str, Column] = {column.name: _described(column) for column in _ORDERED}
"""By name, in the order of the table."""
ENCODER_COLUMNS = {name: column for name, column in COLUMNS.items() if column.source == "encoder"}
CELL_COLUMNS = {name: column for name, column in COLUMNS.items() if column.source == "cell"}
RULE_COLUMNS = ENCODER_COLUMNS | CELL_COLUMNS
"""Columns by which cells and encoders are chosen."""
AXES = tuple(name for name, column in COLUMNS.items() if name in RULE_COLUMNS and column.of != "id")
"""The columns that say what a cell is."""
