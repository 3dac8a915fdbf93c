"""The encoders of a grid: every block's product of axes, before anything is evaluated.

Sizes: a share or `all` of a pool refers to the largest pool of equal shares, which the smallest member
limits. Images that do not divide evenly go one each to the first members in the order of fingerprints. A
subset of everything has subset seed 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.dataset.subsets import Draw, largest_tail
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import LABELLED_METHODS
from ssl_sweep.sweep.grid.load import Entry
from ssl_sweep.sweep.grid.pools import Pool
from ssl_sweep.sweep.grid.schema import PretrainBlock
from ssl_sweep.sweep.grid.sizes import Size, parse_size
from ssl_sweep.sweep.grid.weights import given_weights
from ssl_sweep.sweep.planning.cells import Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.expand_context import Expansion, one_draw
from ssl_sweep.sweep.planning.recipes import bounded_queue, configured, settings_of
from ssl_sweep.sweep.spec.identity import stage_id
from ssl_sweep.sweep.spec.specs import UNTRAINED, PoolPart, PretrainSpec

RANDOM_SEEDS = (0, 1, 2)
EVERYTHING = parse_size("all")


class Pretrainings:
    """The encoders of one expansion; problems are noted in its context."""

    def __init__(self, context: Expansion) -> None:
        self._context = context
        self._configs: dict[Any, PretrainConfig | None] = {}

    def trained(self, entry: Entry[PretrainBlock]) -> Iterator[Pretraining]:
        block = entry.value
        methods = [method for method in block.method if method not in UNTRAINED]
        if "method" in entry.doubtful or {"domain", "images"} & entry.doubtful:
            return
        for (i, pool), (j, size) in product(
            enumerate(block.domain), enumerate(block.images or (EVERYTHING,))
        ):
            if any(name not in self._context.catalog for name in pool.names) or (pool.counted and j):
                continue
            members = tuple(
                sorted(
                    (self._context.catalog[name] for name in pool.names),
                    key=lambda d: (d.fingerprint, d.name),
                )
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
                if not self._context.survives(corruption, members[0].size, entry):
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

    def untrained(self, entry: Entry[PretrainBlock], evaluation: DatasetInfo) -> Iterator[Pretraining]:
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
        source = self._context.grid.source
        folder = Path.cwd() if source.overridden((*entry.path, "weights")) else source.folder
        for i, (encoder, weights) in enumerate(product(entry.value.encoder, entry.value.weights)):
            try:
                given = given_weights(weights, folder)
            except ValueError as error:
                self._context.problem(
                    self._context.path(entry, "weights", i % len(entry.value.weights)), str(error)
                )
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
        domain_path = self._context.path(entry, "domain", i)
        if len({d.size for d in members}) > 1:
            sides = ", ".join(f"{d.name} {d.size}" for d in sorted(members, key=lambda d: d.name))
            self._context.problem(domain_path, f"a pool needs images of one size; these are ({sides}) pixels")
            return None
        if len({d.fingerprint for d in members}) < len(members):
            self._context.problem(domain_path, f"the pool {pool.label} holds the same images twice")
            return None
        free = {d.name: _free(d, labelled) for d in members}
        total = size.resolve(pool.largest(free))
        path = domain_path if pool.counted else self._context.path(entry, "images", j)
        gone = [d for d in members if not free[d.name]]
        if gone:
            why = (
                "is a test image of the evaluations"
                if gone[0].n_leaked
                else "has a label, and this needs them"
            )
            every = "every" if gone[0].n_leaked else "no"
            self._context.problem(domain_path, f"{every} training image of {gone[0].name!r} {why}")
            return None
        text = f"images: {total if pool.counted else size.text}"
        try:
            shares = pool.shares(total, tuple(d.name for d in members))
        except ValueError as error:
            self._context.problem(path, f"{text} of {error}")
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
                self._context.problem(path, f"{text} {said}")
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
                self._context.problem((*entry.path, "imbalance"), message)
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
            self._context.problem(path, str(error))
            return None

    def _batch_fits(self, config: PretrainConfig, images: int, entry: Entry[PretrainBlock], j: int) -> bool:
        given, key = entry.value.model_fields_set, "batch" if config.batch > images else "queue"
        value = getattr(config, key)
        if value <= images or (key == "queue" and key not in given):
            return True
        path = (*entry.path, key) if key in given else self._context.path(entry, "images", j)
        what = key if key in given else "the default batch"
        said = f"{what} {value} is larger than {images} images; set {key} to {images} or less"
        self._context.problem(path, said)
        return False


def _free(d: DatasetInfo, labelled: bool) -> int:
    """Images that a pretraining can draw from."""
    return d.n_free_labeled if labelled else d.n_free


def _part(d: DatasetInfo, share: int, seed: int, draw: Draw, imbalance: float, labelled: bool) -> PoolPart:
    draw, seed = one_draw(share, _free(d, labelled), draw, imbalance, seed)
    return PoolPart(d.fingerprint, share, seed, draw, imbalance, d.avoid, labelled and d.n_unlabeled > 0)
