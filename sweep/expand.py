"""From a grid to its cells: every block's product of axes, blocks united, duplicates falling together.

Sizes: a share or `all` of a pool refers to the largest pool of equal shares, which the smallest member
limits. Images that do not divide evenly go one each to the first members in the order of fingerprints. A
subset of everything has subset seed 0; a budget of everything has draw uniform and probe seed 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from data_ops.corruptions import parse_corruption
from data_ops.errors import DataError
from data_ops.subsets import Draw, largest_tail
from ssl_core.config import LABELLED_METHODS, PretrainConfig, ProbeConfig
from sweep.catalog import DatasetInfo
from sweep.cells import Cell, Pretraining
from sweep.errors import GridError, Located
from sweep.grid import Entry, Grid
from sweep.grid_model import EvaluateBlock, PretrainBlock
from sweep.identity import short_hash, stage_id
from sweep.pools import Pool
from sweep.rules import Matcher, matcher, no_match
from sweep.settings import bounded_queue, configured, finetunings_of, settings_of
from sweep.sizes import Size, parse_size
from sweep.specs import (
    UNTRAINED,
    Answer,
    FeatureSpec,
    FinetuneSpec,
    PoolPart,
    PretrainSpec,
    ProbeSpec,
)
from sweep.weight_files import given_weights
from sweep.yaml_source import Path_

RANDOM_SEEDS = (0, 1, 2)
EVERYTHING = parse_size("all")


def expand(grid: Grid, catalog: Mapping[str, DatasetInfo]) -> tuple[Cell, ...]:
    """Every cell of the grid, in the order of the file; GridError with all that the datasets cannot give."""
    cells, problems = expand_all(grid, catalog)
    if problems:
        raise GridError(problems)
    return cells


def expand_all(grid: Grid, catalog: Mapping[str, DatasetInfo]) -> tuple[tuple[Cell, ...], list[Located]]:
    """The cells that are possible and the problems of the others. Nothing is said about datasets that are
    not in `catalog`: whoever made it has."""
    expansion = _Expansion(grid, catalog)
    cells = expansion.cells()
    return cells, expansion.problems


class _Expansion:
    """One expansion: the problems met and what was made already."""

    def __init__(self, grid: Grid, catalog: Mapping[str, DatasetInfo]) -> None:
        self.grid = grid
        self.catalog = catalog
        self.problems: list[Located] = []
        self._configs: dict[Any, PretrainConfig | None] = {}
        self._features: dict[tuple[str, str, str], tuple[str, str]] = {}

    def problem(self, path: Path_, message: str) -> None:
        self.problems.append(self.grid.source.problem(path, message))

    def cells(self) -> tuple[Cell, ...]:
        trained = [list(self._trained(entry)) for entry in self.grid.pretrain]
        everything: dict[str, tuple[Cell, Path_]] = {}
        for entry in self.grid.evaluate:
            rule = self._matcher(entry.value.match, (*entry.path, "match")) if entry.value.match else None
            chosen: list[Cell] = []
            met: dict[str, Pretraining] = {}
            for i, name in enumerate(entry.value.domain):
                evaluation = self.catalog.get(name)
                if evaluation is None or not self._testable(evaluation, entry, i):
                    continue
                for block, known in zip(self.grid.pretrain, trained, strict=True):
                    for pretraining in (*known, *self._untrained(block, evaluation)):
                        met[pretraining.id] = pretraining
                        if rule is None or rule.fits(pretraining):
                            chosen += self._evaluations(entry, pretraining, evaluation)
            if rule is not None and met and not chosen and rule.wanted:
                said = no_match(rule, ((p, None) for p in met.values()), "pretraining")
                self.problem(rule.path, said)
            for cell in chosen:
                everything.setdefault(cell.id, (cell, entry.path))
        kept = self._without_excluded(everything)
        self._check_sizes(kept)
        return tuple(cell for cell, _ in kept)

    # Pretrainings -----------------------------------------------------------------------------------

    def _trained(self, entry: Entry[PretrainBlock]) -> Iterator[Pretraining]:
        block = entry.value
        methods = [method for method in block.method if method not in UNTRAINED]
        if "method" in entry.doubtful or {"domain", "images"} & entry.doubtful:
            return
        for (i, pool), (j, size) in product(
            enumerate(block.domain), enumerate(block.images or (EVERYTHING,))
        ):
            if any(name not in self.catalog for name in pool.names) or (pool.counted and j):
                continue
            members = tuple(
                sorted((self.catalog[name] for name in pool.names), key=lambda d: (d.fingerprint, d.name))
            )
            shares: dict[bool, tuple[int, ...] | None] = {}
            for method, encoder, corruption, subset_seed, draw, imbalance, seed, settings in product(
                methods,
                block.encoder,
                block.corruption,
                block.subset_seed,
                block.draw,
                block.imbalance,
                block.seed or (0,),
                settings_of(block),
            ):
                by_label = method in LABELLED_METHODS or draw != "uniform" or imbalance > 1
                labelled = by_label and any(d.n_unlabeled for d in members)
                if labelled not in shares:
                    shares[labelled] = self._shares(members, pool, size, entry, i, j, labelled)
                mine = shares[labelled]
                config = self._config(entry, method, encoder, members[0].size, seed, settings)
                if mine is None or config is None or not self._batch_fits(config, sum(mine), entry, j):
                    continue
                if not self._tail_fits(members, mine, imbalance, subset_seed, entry):
                    continue
                if not self._survives(corruption, members[0].size, entry):
                    continue
                parts = tuple(
                    _part(d, share, subset_seed, draw, imbalance, labelled)
                    for d, share in zip(members, mine, strict=True)
                )
                spec = PretrainSpec(bounded_queue(config, sum(mine)), parts, corruption)
                yield Pretraining(
                    id=stage_id("pretrain", spec),
                    spec=spec,
                    datasets=members,
                    domain=pool.label,
                    images=sum(mine),
                    available=pool.largest({d.name: _free(d, labelled) for d in members}),
                    shares=pool.shares_label,
                )

    def _survives(
        self, corruption: str, size: int, entry: Entry[PretrainBlock] | Entry[EvaluateBlock]
    ) -> bool:
        """Whether anything is left of images of this size."""
        problem = parse_corruption(corruption).problem_at(size)
        if problem:
            self.problem((*entry.path, "corruption"), problem)
        return not problem

    def _untrained(self, entry: Entry[PretrainBlock], evaluation: DatasetInfo) -> Iterator[Pretraining]:
        """Encoders that are there without a pretraining, one for each evaluation's images."""
        block = entry.value
        if "weights" in block.method:
            yield from self._given(entry, evaluation)
        if "random" not in block.method:
            return
        for encoder, seed in product(block.encoder, block.seed or RANDOM_SEEDS):
            config = self._config(entry, "random", encoder, evaluation.size, seed, ())
            if config is None:
                continue
            spec = PretrainSpec(config, (PoolPart(evaluation.fingerprint, evaluation.n_train),))
            yield Pretraining(
                id=stage_id("pretrain", spec),
                spec=spec,
                datasets=(evaluation,),
                domain="",
                images=None,
                available=evaluation.n_train,
            )

    def _given(self, entry: Entry[PretrainBlock], evaluation: DatasetInfo) -> Iterator[Pretraining]:
        source = self.grid.source
        folder = Path.cwd() if source.overridden((*entry.path, "weights")) else source.folder
        for i, (encoder, weights) in enumerate(product(entry.value.encoder, entry.value.weights)):
            try:
                given = given_weights(weights, folder)
            except ValueError as error:
                self.problem(self._path(entry, "weights", i % len(entry.value.weights)), str(error))
                continue
            settings = (("weights", given.identity),)
            config = self._config(entry, "weights", encoder, evaluation.size, 0, settings)
            if config is not None:
                spec = PretrainSpec(config, ())
                yield Pretraining(
                    id=stage_id("pretrain", spec),
                    spec=spec,
                    datasets=(),
                    domain="",
                    images=None,
                    available=0,
                    weights=given.path,
                )

    def _shares(
        self,
        members: tuple[DatasetInfo, ...],
        pool: Pool,
        size: Size,
        entry: Entry[PretrainBlock],
        i: int,
        j: int,
        labelled: bool,
    ) -> tuple[int, ...] | None:
        """Images of each of `members`, in their order; None, the problem noted, where it cannot be."""
        domain_path = self._path(entry, "domain", i)
        if len({d.size for d in members}) > 1:
            sides = ", ".join(f"{d.name} {d.size}" for d in sorted(members, key=lambda d: d.name))
            self.problem(domain_path, f"a pool needs images of one size; these are ({sides}) pixels")
            return None
        if len({d.fingerprint for d in members}) < len(members):
            self.problem(domain_path, f"the pool {pool.label} holds the same images twice")
            return None
        free = {d.name: _free(d, labelled) for d in members}
        total = size.resolve(pool.largest(free))
        path = domain_path if pool.counted else self._path(entry, "images", j)
        gone = [d for d in members if not free[d.name]]
        if gone:
            why = (
                "is a test image of the evaluations"
                if gone[0].n_leaked
                else "has a label, and this needs them"
            )
            every = "every" if gone[0].n_leaked else "no"
            self.problem(domain_path, f"{every} training image of {gone[0].name!r} {why}")
            return None
        text = f"images: {total if pool.counted else size.text}"
        try:
            shares = pool.shares(total, tuple(d.name for d in members))
        except ValueError as error:
            self.problem(path, f"{text} of {error}")
            return None
        for name in sorted(free, key=lambda name: (free[name], name)):
            if shares[name] > free[name]:
                leaks = any(d.n_leaked for d in members if d.name == name)
                has = f"{'labelled ' if labelled else ''}training images"
                has += " that are no test images" if leaks else ""
                if len(members) == 1:
                    said = f"is more than the {free[name]} {has} of {name!r}"
                else:
                    said = f"takes {shares[name]} of {name!r}, which has {free[name]} {has}"
                self.problem(path, f"{text} {said}")
                return None
        return tuple(shares[d.name] for d in members)

    def _tail_fits(
        self,
        members: tuple[DatasetInfo, ...],
        shares: tuple[int, ...],
        imbalance: float,
        seed: int,
        entry: Entry[PretrainBlock],
    ) -> bool:
        """Whether every class is large enough for its place in the long tail, as far as it is known yet."""
        for d, share in zip(members, shares, strict=True):
            if imbalance == 1 or not d.class_counts:
                continue
            most = largest_tail(d.free_class_counts, imbalance, seed)
            if share > most:
                message = f"imbalance {imbalance:g} of {d.name!r} has room for {most} images, not {share}"
                self.problem((*entry.path, "imbalance"), message)
                return False
        return True

    def _config(
        self,
        entry: Entry[PretrainBlock],
        method: str,
        encoder: str,
        size: int,
        seed: int,
        settings: tuple[tuple[str, Any], ...],
    ) -> PretrainConfig | None:
        key = (entry.path, method, encoder, size, seed, settings)
        if key not in self._configs:
            self._configs[key] = self._new_config(entry, method, encoder, size, seed, dict(settings))
        return self._configs[key]

    def _new_config(
        self,
        entry: Entry[PretrainBlock],
        method: str,
        encoder: str,
        size: int,
        seed: int,
        settings: dict[str, Any],
    ) -> PretrainConfig | None:
        try:
            return configured(method, encoder, size, seed, settings)
        except (ValueError, DataError) as error:
            named = [key for key in entry.value.model_fields_set if re.search(rf"\b{key}\b", str(error))]
            path = (*entry.path, sorted(named, key=len)[-1]) if named else entry.path
            self.problem(path, str(error))
            return None

    def _batch_fits(self, config: PretrainConfig, images: int, entry: Entry[PretrainBlock], j: int) -> bool:
        given, key = entry.value.model_fields_set, "batch" if config.batch > images else "queue"
        value = getattr(config, key)
        if value <= images or (key == "queue" and key not in given):
            return True
        path = (*entry.path, key) if key in given else self._path(entry, "images", j)
        what = key if key in given else "the default batch"
        self.problem(path, f"{what} {value} is larger than {images} images; set {key} to {images} or less")
        return False

    # Evaluations ------------------------------------------------------------------------------------

    def _testable(self, evaluation: DatasetInfo, entry: Entry[EvaluateBlock], i: int) -> bool:
        if evaluation.n_test == 0:
            message = f"{evaluation.name!r} has no test images; give its dataset a test or test_fraction"
            self.problem(self._path(entry, "domain", i), message)
        return evaluation.n_test > 0

    def _evaluations(
        self, entry: Entry[EvaluateBlock], pretraining: Pretraining, evaluation: DatasetInfo
    ) -> Iterator[Cell]:
        block = entry.value
        for j, labels in enumerate(block.labels):
            n = labels.resolve(evaluation.n_labeled)
            if not 1 <= n <= evaluation.n_labeled:
                path = self._path(entry, "labels", j)
                kind = "labelled training" if evaluation.n_unlabeled else "training"
                has = f"{evaluation.name!r} has {evaluation.n_labeled} {kind} images"
                self.problem(path, f"labels: {labels.text} is {n} images; {has}")
                continue
            finetunings = finetunings_of(block, pretraining.spec.config, n, evaluation.n_labeled)
            for corruption, draw, imbalance, protocol, seed, finetuning in product(
                block.corruption, block.draw, block.imbalance, block.protocol, block.seed, finetunings
            ):
                draw, seed = _one_draw(n, evaluation.n_labeled, draw, imbalance, seed)
                if imbalance > 1 and evaluation.class_counts:
                    most = largest_tail(evaluation.class_counts, imbalance, seed)
                    if n > most:
                        has = f"{evaluation.name!r} has room for {most} labels, not {n}"
                        message = f"imbalance {imbalance:g} of {has}"
                        self.problem((*entry.path, "imbalance"), message)
                        continue
                if not self._survives(corruption, evaluation.size, entry):
                    continue
                probe: Answer
                if protocol == "linear":
                    if finetuning is not finetunings[0]:
                        continue  # its settings are none of a probe's
                    train, test = self._feature_ids(pretraining, evaluation, corruption)
                    probe = ProbeSpec(train, test, n, draw, seed, ProbeConfig(), imbalance)
                else:
                    probe = FinetuneSpec(
                        encoder=pretraining.id,
                        fingerprint=evaluation.fingerprint,
                        n_labels=n,
                        draw=draw,
                        seed=seed,
                        config=finetuning,
                        imbalance=imbalance,
                        corruption=corruption,
                    )
                id = stage_id("probe" if protocol == "linear" else "finetune", probe)
                row = f"{id}/{pretraining.domain}/{evaluation.name}/{labels.canonical}"
                yield Cell(
                    id=short_hash(f"cell/{row}"),
                    pretraining=pretraining,
                    evaluation=evaluation,
                    labels=labels,
                    corruption=corruption,
                    probe=probe,
                    probe_id=id,
                )

    def _feature_ids(
        self, pretraining: Pretraining, evaluation: DatasetInfo, corruption: str
    ) -> tuple[str, str]:
        key = (pretraining.id, evaluation.fingerprint, corruption)
        if key not in self._features:
            self._features[key] = (
                stage_id("features", FeatureSpec(*key[:2], "train")),
                stage_id("features", FeatureSpec(*key[:2], "test", corruption)),
            )
        return self._features[key]

    # Rules ------------------------------------------------------------------------------------------

    def _matcher(self, rule: Any, path: Path_, *, pretraining_only: bool = True) -> Matcher:
        made, problems = matcher(rule, path, self.grid.source, pretraining_only=pretraining_only)
        self.problems += problems
        return made

    def _without_excluded(self, cells: dict[str, tuple[Cell, Path_]]) -> list[tuple[Cell, Path_]]:
        rules = [self._matcher(e.value, e.path, pretraining_only=False) for e in self.grid.exclude]
        used: set[int] = set()
        kept = []
        for cell, path in cells.values():
            hits = [i for i, rule in enumerate(rules) if rule.wanted and rule.fits(cell.pretraining, cell)]
            used.update(hits)
            if not hits:
                kept.append((cell, path))
        for i, rule in enumerate(rules):
            if cells and rule.wanted and i not in used:
                self.problem(
                    rule.path, no_match(rule, ((c.pretraining, c) for c, _ in cells.values()), "cell")
                )
        if cells and not kept:
            self.problem(("exclude",), "the rules leave no cell")
        return kept

    def _check_sizes(self, cells: list[tuple[Cell, Path_]]) -> None:
        """An encoder is judged at the image size it was trained at."""
        for cell, path in cells:
            trained, judged = cell.pretraining.spec.config.image_size, cell.evaluation.size
            if trained != judged:
                message = (
                    f"{cell.evaluation.name!r} has images of {judged} pixels, the encoders of"
                    f" {cell.pretraining.domain!r} are trained at {trained}; give both datasets one size, or"
                    " keep them apart with match or exclude"
                )
                self.problem((*path, "domain"), message)

    def _path(self, entry: Entry[Any], key: str, i: int) -> Path_:
        """Where value `i` of an axis stands."""
        path = (*entry.path, key, i)
        return path if path in self.grid.source.marks else path[:-1]


def _free(d: DatasetInfo, labelled: bool) -> int:
    """Images that a pretraining can draw from."""
    return d.n_free_labeled if labelled else d.n_free


def _one_draw(n: int, available: int, draw: Draw, imbalance: float, seed: int) -> tuple[Draw, int]:
    """Draw and seed of n images in one spelling: a tail decides the classes with any draw, and all images are
    one draw, whatever its seed and kind."""
    if imbalance > 1:
        return "uniform", seed
    return ("uniform", 0) if n == available else (draw, seed)


def _part(d: DatasetInfo, share: int, seed: int, draw: Draw, imbalance: float, labelled: bool) -> PoolPart:
    draw, seed = _one_draw(share, _free(d, labelled), draw, imbalance, seed)
    return PoolPart(d.fingerprint, share, seed, draw, imbalance, d.avoid, labelled and d.n_unlabeled > 0)
