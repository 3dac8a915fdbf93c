"""From a grid to its cells: every block's product of axes, blocks united, duplicates falling together.

Sizes: a share or `all` of a pool refers to the largest pool of equal shares, which the smallest member
limits. Images that do not divide evenly go one each to the first members in the order of fingerprints. A
subset of everything has subset seed 0; a budget of everything has draw uniform and probe seed 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from data_ops.errors import DataError
from data_ops.subsets import equal_shares
from data_ops.views import simclr_policy
from ssl_core.config import PretrainConfig, ProbeConfig, default_config
from sweep.catalog import DatasetInfo
from sweep.cells import Cell, Pretraining
from sweep.errors import GridError, Located
from sweep.grid import Entry, Grid
from sweep.grid_model import EvaluateBlock, PretrainBlock
from sweep.identity import short_hash, stage_id
from sweep.rules import Matcher, matcher, no_match
from sweep.sizes import Size
from sweep.specs import FeatureSpec, PoolPart, PretrainSpec, ProbeSpec
from sweep.yaml_source import Path_

SETTINGS = (
    "epochs",
    "batch",
    "optimizer",
    "learning_rate",
    "lr_scaling",
    "warmup_epochs",
    "weight_decay",
    "temperature",
    "head_layers",
    "head_dim",
    "precision",
)
VIEWS = ("strength", "blur", "view_mode")
RANDOM_SEEDS = (0, 1, 2)


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
        self._features: dict[tuple[str, str], tuple[str, str]] = {}

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
                    for pretraining in (*known, *self._random(block, evaluation)):
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
        methods = [method for method in block.method if method != "random"]
        if "method" in entry.doubtful or {"domain", "images"} & entry.doubtful:
            return
        for (i, names), (j, size) in product(enumerate(block.domain), enumerate(block.images)):
            if any(name not in self.catalog for name in names):
                continue
            pool = sorted((self.catalog[name] for name in names), key=lambda d: (d.fingerprint, d.name))
            shares = self._shares(pool, names, size, entry, i, j) if methods else None
            if shares is None:
                continue
            for method, encoder, corruption, subset_seed, seed, settings in product(
                methods,
                block.encoder,
                block.corruption,
                block.subset_seed,
                block.seed or (0,),
                _settings(block),
            ):
                config = self._config(entry, method, encoder, pool[0].size, seed, settings)
                if config is None or not self._batch_fits(config, sum(shares), entry, j):
                    continue
                parts = tuple(
                    PoolPart(d.fingerprint, share, 0 if share == d.n_train else subset_seed)
                    for d, share in zip(pool, shares, strict=True)
                )
                spec = PretrainSpec(config, parts, corruption)
                yield Pretraining(
                    id=stage_id("pretrain", spec),
                    spec=spec,
                    datasets=tuple(pool),
                    domain="+".join(names),
                    images=sum(shares),
                    available=len(pool) * min(d.n_train for d in pool),
                )

    def _random(self, entry: Entry[PretrainBlock], evaluation: DatasetInfo) -> Iterator[Pretraining]:
        block = entry.value
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

    def _shares(
        self,
        pool: list[DatasetInfo],
        names: tuple[str, ...],
        size: Size,
        entry: Entry[PretrainBlock],
        i: int,
        j: int,
    ) -> tuple[int, ...] | None:
        """Images of each member, in the order of `pool`; None, the problem noted, where it cannot be."""
        domain_path = self._path(entry, "domain", i)
        if len({d.size for d in pool}) > 1:
            sides = ", ".join(f"{d.name} {d.size}" for d in sorted(pool, key=lambda d: d.name))
            self.problem(domain_path, f"a pool needs images of one size; these are ({sides}) pixels")
            return None
        if len({d.fingerprint for d in pool}) < len(pool):
            self.problem(domain_path, f"the pool {'+'.join(names)} holds the same images twice")
            return None
        smallest = min(pool, key=lambda d: (d.n_train, d.name))
        total = size.resolve(len(pool) * smallest.n_train)
        path = self._path(entry, "images", j)
        if total < len(pool):
            self.problem(path, f"images: {size.text} of {'+'.join(names)} is {total}; each needs at least 1")
            return None
        shares = equal_shares(total, len(pool))
        if shares[0] > smallest.n_train:
            if len(pool) == 1:
                said = f"is more than the {smallest.n_train} training images of {smallest.name!r}"
            else:
                said = f"takes {shares[0]} of {smallest.name!r}, which has {smallest.n_train} training images"
            self.problem(path, f"images: {size.text} {said}")
            return None
        return shares

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
        views = {name: settings.pop(name) for name in VIEWS if name in settings}
        try:
            if views:
                mode = views.pop("view_mode", "exact")
                settings["views"] = simclr_policy(size, **views, mode=mode)
            return default_config(encoder, size, method=method, seed=seed, **settings)
        except (ValueError, DataError) as error:
            named = [key for key in entry.value.model_fields_set if re.search(rf"\b{key}\b", str(error))]
            path = (*entry.path, sorted(named, key=len)[-1]) if named else entry.path
            self.problem(path, str(error))
            return None

    def _batch_fits(self, config: PretrainConfig, images: int, entry: Entry[PretrainBlock], j: int) -> bool:
        if config.batch <= images:
            return True
        given = "batch" in entry.value.model_fields_set
        path = (*entry.path, "batch") if given else self._path(entry, "images", j)
        what = "batch" if given else "the default batch"
        self.problem(
            path, f"{what} {config.batch} is larger than {images} images; set batch to {images} or less"
        )
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
        train, test = self._feature_ids(pretraining, evaluation)
        for j, labels in enumerate(block.labels):
            n = labels.resolve(evaluation.n_train)
            if not 1 <= n <= evaluation.n_train:
                path = self._path(entry, "labels", j)
                has = f"{evaluation.name!r} has {evaluation.n_train} training images"
                self.problem(path, f"labels: {labels.text} is {n} images; {has}")
                continue
            for draw, protocol, seed in product(block.draw, block.protocol, block.seed):
                if n == evaluation.n_train:
                    draw, seed = "uniform", 0
                probe = ProbeSpec(train, test, n, draw, seed, ProbeConfig(protocol=protocol))
                id = stage_id("probe", probe)
                row = f"{id}/{pretraining.domain}/{evaluation.name}/{labels.canonical}"
                yield Cell(
                    id=short_hash(f"cell/{row}"),
                    pretraining=pretraining,
                    evaluation=evaluation,
                    labels=labels,
                    probe=probe,
                    probe_id=id,
                )

    def _feature_ids(self, pretraining: Pretraining, evaluation: DatasetInfo) -> tuple[str, str]:
        key = (pretraining.id, evaluation.fingerprint)
        if key not in self._features:
            self._features[key] = (
                stage_id("features", FeatureSpec(*key, "train")),
                stage_id("features", FeatureSpec(*key, "test")),
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


def _settings(block: PretrainBlock) -> Iterator[tuple[tuple[str, Any], ...]]:
    """The product of the given settings; those left out keep the preset's value."""
    given = [name for name in (*SETTINGS, *VIEWS) if getattr(block, name)]
    for values in product(*(getattr(block, name) for name in given)):
        yield tuple(zip(given, values, strict=True))
