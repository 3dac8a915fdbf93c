"""From a grid to its cells: the product of each block's axes, all blocks together, each cell once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.sweep.errors import GridError, Located
from ssl_sweep.sweep.grid.load import Entry, Grid
from ssl_sweep.sweep.grid.marked_yaml import KeyPath
from ssl_sweep.sweep.grid.schema import EvaluateBlock
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.expand_context import Expansion
from ssl_sweep.sweep.planning.expand_evaluate import Evaluations, outputs_of
from ssl_sweep.sweep.planning.expand_pretrain import Pretrainings
from ssl_sweep.sweep.planning.match import Matcher, matcher, no_match
from ssl_sweep.sweep.spec.specs import ProbeSpec

_log = logging.getLogger(__name__)


def expand(grid: Grid, catalog: Mapping[str, DatasetInfo]) -> tuple[Cell, ...]:
    """Every cell of the grid, in the order of the file.

    Raises:
        GridError: lists everything that the datasets cannot give.
    """
    cells, problems = expand_all(grid, catalog)
    if problems:
        raise GridError(problems)
    return cells


def expand_all(grid: Grid, catalog: Mapping[str, DatasetInfo]) -> tuple[tuple[Cell, ...], list[Located]]:
    """The possible cells, and the problems of the others.

    Datasets that are not in ``catalog`` add no problem: they are reported where the catalog is made.
    """
    context = Expansion(grid, catalog)
    kept = _without_excluded(context, _united(context))
    _check_sizes(context, kept)
    return tuple(cell for cell, _ in kept), context.problems


def _united(context: Expansion) -> dict[str, tuple[Cell, KeyPath]]:
    """Every cell once, by id, with the place of the first block that asks for it."""
    grid, pretrainings, evaluations = context.grid, Pretrainings(context), Evaluations(context)
    trained = [list(pretrainings.trained(entry)) for entry in grid.pretrain]
    everything: dict[str, tuple[Cell, KeyPath]] = {}
    joined: dict[object, str] = {}
    for entry in grid.evaluate:
        block, noted = entry.value, len(context.problems)
        rule = _matcher(context, block.match, (*entry.path, "match")) if block.match else None
        chosen: list[Cell] = []
        available: dict[str, Pretraining] = {}
        for i, name in enumerate(block.domain):
            evaluation = context.catalog.get(name)
            if evaluation is None or not evaluations.testable(evaluation, entry, i):
                continue
            here = [
                pretraining
                for one, known in zip(grid.pretrain, trained, strict=True)
                for pretraining in (*known, *pretrainings.untrained(one, evaluation))
            ]
            available |= {pretraining.id: pretraining for pretraining in here}
            fitting = [p for p in here if rule is None or rule.fits(p)]
            single = ((pretraining,) for pretraining in fitting)
            for encoders in evaluations.fused(entry, fitting) if block.fuse else single:
                chosen += evaluations.cells(entry, encoders, evaluation)
        if rule is not None and available and not chosen and rule.wanted:
            everyone = ((p, None) for p in available.values())
            context.problem(rule.path, no_match(rule, everyone, "pretraining"))
        if available and len(context.problems) == noted:
            _check_representations(context, entry, chosen, available.values())
        for cell in chosen:
            if joined.setdefault(_question(cell), cell.id) == cell.id:
                everything.setdefault(cell.id, (cell, entry.path))
    return everything


def _question(cell: Cell) -> object:
    """What a cell asks, which does not depend on the order in which encoders are joined."""
    if not cell.fused or not isinstance(cell.probe, ProbeSpec):
        return cell.id
    train, test = sorted(cell.probe.train_features), sorted(cell.probe.test_features)
    probe = replace(cell.probe, train_features=tuple(train), test_features=tuple(test))
    names = sorted(p.domain for p in cell.encoders)
    return probe, *names, cell.evaluation.name, cell.labels.canonical


def _check_representations(
    context: Expansion, entry: Entry[EvaluateBlock], cells: Iterable[Cell], available: Iterable[Pretraining]
) -> None:
    """Encoders without an output are skipped, but at least one encoder must have it."""
    given = {cell.representation for cell in cells}
    for i, name in enumerate(entry.value.representation):
        if name not in given and name != FEATURES:
            outputs = dict.fromkeys(o for p in available for o in outputs_of(p))
            message = f"no encoder here has the output {name!r}; use one of {', '.join(outputs)}"
            context.problem(context.path(entry, "representation", i), message)


def _matcher(context: Expansion, rule: Any, path: KeyPath, *, pretraining_only: bool = True) -> Matcher:
    made, problems = matcher(rule, path, context.grid.source, pretraining_only=pretraining_only)
    context.problems += problems
    return made


def _without_excluded(
    context: Expansion, cells: dict[str, tuple[Cell, KeyPath]]
) -> list[tuple[Cell, KeyPath]]:
    rules = [_matcher(context, e.value, e.path, pretraining_only=False) for e in context.grid.exclude]
    if not rules:
        return list(cells.values())
    marks = [context.grid.source.mark(rule.path) for rule in rules]
    places = [f"{mark.file}:{mark.line}" if mark.line else mark.file for mark in marks]
    used: Counter[int] = Counter()
    kept = []
    for cell, path in cells.values():
        hits = [i for i, rule in enumerate(rules) if rule.wanted and rule.fits(cell.pretraining, cell)]
        used.update(hits)
        if not hits:
            kept.append((cell, path))
        else:
            _log.debug("cell %s left out: excluded by %s", cell.id, places[hits[0]])
    for i, count in used.items():
        _log.info("%s cells left out: excluded by %s", f"{count:,}", places[i])
    for i, rule in enumerate(rules):
        if cells and rule.wanted and i not in used:
            context.problem(
                rule.path, no_match(rule, ((c.pretraining, c) for c, _ in cells.values()), "cell")
            )
    if cells and not kept:
        context.problem(("exclude",), "these rules exclude every cell; remove or narrow one")
    return kept


def _check_sizes(context: Expansion, cells: list[tuple[Cell, KeyPath]]) -> None:
    """An encoder is evaluated at the image size at which it was trained."""
    for cell, path in cells:
        evaluated = cell.evaluation.size
        for pretraining in cell.encoders:
            trained = pretraining.spec.config.image_size
            if trained != evaluated:
                message = (
                    f"{cell.evaluation.name!r} has images of {evaluated} pixels, but the encoders of"
                    f" {pretraining.domain!r} are trained at {trained}; give both datasets the same size, or"
                    " separate them with match or exclude"
                )
                context.problem((*path, "domain"), message)
