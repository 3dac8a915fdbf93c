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
from data_ops.policies import Mode
from data_ops.subsets import Draw, largest_tail
from data_ops.views import ViewPolicy, simclr_policy
from ssl_core.config import PretrainConfig, ProbeConfig, default_config
from sweep.catalog import DatasetInfo
from sweep.cells import Cell, Pretraining
from sweep.errors import GridError, Located
from sweep.grid import Entry, Grid
from sweep.grid_model import EvaluateBlock, PretrainBlock
from sweep.identity import short_hash, stage_id
from sweep.pools import Pool
from sweep.rules import Matcher, matcher, no_match
from sweep.sizes import Size, parse_size
from sweep.specs import FeatureSpec, PoolPart, PretrainSpec, ProbeSpec
from sweep.view_choice import ViewChoice
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
VIEWS = ("strength", "blur", "view_mode", "views")
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
        for (i, pool), (j, size) in product(
            enumerate(block.domain), enumerate(block.images or (EVERYTHING,))
        ):
            if any(name not in self.catalog for name in pool.names) or (pool.counted and j):
                continue
            members = tuple(
                sorted((self.catalog[name] for name in pool.names), key=lambda d: (d.fingerprint, d.name))
            )
            shares = self._shares(members, pool, size, entry, i, j) if methods else None
            if shares is None:
                continue
            for method, encoder, corruption, subset_seed, draw, imbalance, seed, settings in product(
                methods,
                block.encoder,
                block.corruption,
                block.subset_seed,
                block.draw,
                block.imbalance,
                block.seed or (0,),
                _settings(block),
            ):
                config = self._config(entry, method, encoder, members[0].size, seed, settings)
                if config is None or not self._batch_fits(config, sum(shares), entry, j):
                    continue
                if not self._tail_fits(members, shares, imbalance, subset_seed, entry):
                    continue
                parts = tuple(
                    _part(d, share, subset_seed, draw, imbalance)
                    for d, share in zip(members, shares, strict=True)
                )
                spec = PretrainSpec(config, parts, corruption)
                yield Pretraining(
                    id=stage_id("pretrain", spec),
                    spec=spec,
                    datasets=members,
                    domain=pool.label,
                    images=sum(shares),
                    available=pool.largest({d.name: d.n_free for d in members}),
                    shares=pool.shares_label,
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
        members: tuple[DatasetInfo, ...],
        pool: Pool,
        size: Size,
        entry: Entry[PretrainBlock],
        i: int,
        j: int,
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
        total = size.resolve(pool.largest({d.name: d.n_free for d in members}))
        path = domain_path if pool.counted else self._path(entry, "images", j)
        text = f"images: {total if pool.counted else size.text}"
        try:
            shares = pool.shares(total, tuple(d.name for d in members))
        except ValueError as error:
            self.problem(path, f"{text} of {error}")
            return None
        for d in sorted(members, key=lambda d: (d.n_free, d.name)):
            if shares[d.name] > d.n_free:
                has = f"training images{' that are no test images' if d.n_leaked else ''}"
                if len(members) == 1:
                    said = f"is more than the {d.n_free} {has} of {d.name!r}"
                else:
                    said = f"takes {shares[d.name]} of {d.name!r}, which has {d.n_free} {has}"
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
            most = largest_tail(d.class_counts, imbalance, seed)
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
        views = {name: settings.pop(name) for name in VIEWS if name in settings}
        try:
            if views:
                settings |= _policies(size, **views)
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
        for j, labels in enumerate(block.labels):
            n = labels.resolve(evaluation.n_labeled)
            if not 1 <= n <= evaluation.n_labeled:
                path = self._path(entry, "labels", j)
                kind = "labelled training" if evaluation.n_unlabeled else "training"
                has = f"{evaluation.name!r} has {evaluation.n_labeled} {kind} images"
                self.problem(path, f"labels: {labels.text} is {n} images; {has}")
                continue
            for corruption, draw, imbalance, protocol, seed in product(
                block.corruption, block.draw, block.imbalance, block.protocol, block.seed
            ):
                if imbalance > 1:
                    draw = "uniform"  # the tail decides the classes either way
                    if evaluation.class_counts:
                        most = largest_tail(evaluation.class_counts, imbalance, seed)
                        if n > most:
                            has = f"{evaluation.name!r} has room for {most} labels, not {n}"
                            message = f"imbalance {imbalance:g} of {has}"
                            self.problem((*entry.path, "imbalance"), message)
                            continue
                elif n == evaluation.n_labeled:
                    draw, seed = "uniform", 0
                train, test = self._feature_ids(pretraining, evaluation, corruption)
                probe = ProbeSpec(train, test, n, draw, seed, ProbeConfig(protocol=protocol), imbalance)
                id = stage_id("probe", probe)
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


def _policies(
    size: int,
    view_mode: Mode = "exact",
    views: ViewChoice | None = None,
    strength: float | None = None,
    blur: bool | None = None,
) -> dict[str, ViewPolicy]:
    """The config's fields of a view policy. ValueError where a policy of its own meets SimCLR's settings."""
    if views is None:
        return {"views": simclr_policy(size, strength, blur, view_mode)}
    if strength is not None or blur is not None:
        raise ValueError("views: it says strength and blur itself; leave the keys strength and blur out")
    policies = views.policies(size, view_mode)
    return dict(zip(("views", "views2"), policies, strict=False))


def _part(d: DatasetInfo, share: int, seed: int, draw: Draw, imbalance: float) -> PoolPart:
    """All images of a dataset are one draw, whatever its seed and kind."""
    if imbalance > 1:
        draw = "uniform"  # the tail decides the classes either way
    elif share == d.n_free:
        draw, seed = "uniform", 0
    return PoolPart(d.fingerprint, share, seed, draw, imbalance, d.avoid)


def _settings(block: PretrainBlock) -> Iterator[tuple[tuple[str, Any], ...]]:
    """The product of the given settings; those left out keep the preset's value."""
    given = [name for name in (*SETTINGS, *VIEWS) if getattr(block, name)]
    for values in product(*(getattr(block, name) for name in given)):
        yield tuple(zip(given, values, strict=True))
