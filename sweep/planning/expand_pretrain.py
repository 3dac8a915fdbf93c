"""The encoders of a grid: the product of each block's axes, before anything is evaluated.

Sizes: a share or ``all`` of a pool refers to the largest pool of equal shares, which the smallest member
limits. Images that do not divide evenly go one each to the first members, which are ordered by their smallest
keys. A subset of all images has subset seed 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ssl_sweep.data_ops.dataset.subsets import Draw, largest_tail
from ssl_sweep.ssl_core.config.checks import FieldError
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import LABELLED_METHODS, UNTRAINED
from ssl_sweep.sweep.grid.load import Entry
from ssl_sweep.sweep.grid.marked_yaml import KeyPath
from ssl_sweep.sweep.grid.pools import Pool
from ssl_sweep.sweep.grid.schema import PretrainBlock
from ssl_sweep.sweep.grid.sizes import Size, parse_size
from ssl_sweep.sweep.grid.weights import check_fit, given_weights
from ssl_sweep.sweep.planning.cells import Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.expand_context import Expansion, one_draw
from ssl_sweep.sweep.planning.recipes import bounded_queue, configured, settings_of
from ssl_sweep.sweep.spec.identity import stage_id
from ssl_sweep.sweep.spec.specs import PoolPart

RANDOM_SEEDS = (0, 1, 2)
EVERYTHING = parse_size("all")


class _Choice(NamedTuple):
    """One value of each axis of a block but its domain and images."""

    method: str
    encoder: str
    corruption: str
    subset_seed: int
    draw: Draw
    imbalance: float
    seed: int
    settings: tuple[tuple[str, Any], ...]

    @property
    def reads_labels(self) -> bool:
        """Whether the method or the choice of its images needs labels."""
        return self.method in LABELLED_METHODS or self.draw != "uniform" or self.imbalance > 1


@dataclass(frozen=True)
class _Images:
    """The images of a pretraining: a pool and a size, as one block gives them."""

    members: tuple[DatasetInfo, ...]
    """The datasets of the pool, in the order of their smallest keys."""
    pool: Pool
    pool_path: KeyPath
    """The place of the pool in the grid."""
    size: Size
    size_path: KeyPath
    """The place of the size in the grid."""

    def free(self, labelled: bool) -> dict[str, int]:
        """Number of images that a pretraining can draw from each member."""
        return {d.name: _free(d, labelled) for d in self.members}


class Pretrainings:
    """The encoders of one expansion. Problems are added to its context."""

    def __init__(self, context: Expansion) -> None:
        self._context, self._specs = context, context.identities
        self._configs: dict[Any, PretrainConfig | None] = {}

    def trained(self, entry: Entry[PretrainBlock]) -> Iterator[Pretraining]:
        """The encoders of a block that are trained here."""
        if {"method", "domain", "images"} & entry.doubtful:
            return
        for images in self._images(entry):
            shares: dict[bool, tuple[int, ...] | None] = {}
            for choice in _choices(entry.value):
                labelled = choice.reads_labels and any(d.n_unlabeled for d in images.members)
                if labelled not in shares:
                    shares[labelled] = self._shares(images, labelled)
                drawn = shares[labelled]
                config = self._config(
                    entry, choice.method, choice.encoder, images.members[0].size, choice.seed, choice.settings
                )
                if drawn is None or config is None:
                    continue
                if self._possible(entry, images, choice, config, drawn):
                    yield self._pretraining(images, choice, config, drawn, labelled)

    def _images(self, entry: Entry[PretrainBlock]) -> Iterator[_Images]:
        """Each pool of a block with each size. A pool of numbers of images has its size already."""
        block, catalog = entry.value, self._context.catalog
        sizes = block.images or (EVERYTHING,)
        for (i, pool), (j, size) in product(enumerate(block.domain), enumerate(sizes)):
            if any(name not in catalog for name in pool.names) or (pool.counted and j):
                continue
            members = sorted((catalog[name] for name in pool.names), key=lambda d: d.order)
            places = self._context.path(entry, "domain", i), self._context.path(entry, "images", j)
            yield _Images(tuple(members), pool, places[0], size, places[1])

    def _shares(self, images: _Images, labelled: bool) -> tuple[int, ...] | None:
        """Number of images of each member, in their order; None if the pool or its size is impossible."""
        pool, members, free = images.pool, images.members, images.free(labelled)
        if problem := _pool_problem(pool, members) or _empty_member(members, labelled):
            self._context.problem(images.pool_path, problem)
            return None
        total = images.size.resolve(pool.largest(free))
        path = images.pool_path if pool.counted else images.size_path
        text = f"images: {total if pool.counted else images.size.text}"
        try:
            shares = pool.shares(total, tuple(d.name for d in members))
        except ValueError as error:
            self._context.problem(path, f"{text} of {error}")
            return None
        if problem := _too_many(shares, members, labelled):
            self._context.problem(path, f"{text} {problem}")
            return None
        return tuple(shares[d.name] for d in members)

    def _possible(
        self,
        entry: Entry[PretrainBlock],
        images: _Images,
        choice: _Choice,
        config: PretrainConfig,
        drawn: tuple[int, ...],
    ) -> bool:
        """Whether the batch, the long tail and the corruption fit the images."""
        if refused := _batch_problem(config, sum(drawn), entry.value, images.members):
            key, text = refused
            given = key in entry.value.model_fields_set
            self._context.problem((*entry.path, key) if given else images.size_path, text)
            return False
        if problem := _one_class(images.members, choice.method):
            self._context.problem((*entry.path, "method"), problem)
            return False
        if problem := _tail_problem(images.members, drawn, choice):
            self._context.problem((*entry.path, "imbalance"), problem)
            return False
        return self._context.survives(choice.corruption, images.members[0].size, entry)

    def _pretraining(
        self,
        images: _Images,
        choice: _Choice,
        config: PretrainConfig,
        drawn: tuple[int, ...],
        labelled: bool,
    ) -> Pretraining:
        parts = tuple(_part(d, n, choice, labelled) for d, n in zip(images.members, drawn, strict=True))
        spec = self._specs.pretrain(bounded_queue(config, sum(drawn)), parts, choice.corruption)
        return Pretraining(
            id=stage_id("pretrain", spec),
            spec=spec,
            datasets=images.members,
            domain=images.pool.label,
            images=sum(drawn),
            available=images.pool.largest(images.free(labelled)),
            shares=images.pool.shares_label,
        )

    def untrained(self, entry: Entry[PretrainBlock], evaluation: DatasetInfo) -> Iterator[Pretraining]:
        """The encoders of a block that need no pretraining, for the images of an evaluation."""
        block = entry.value
        if "weights" in block.method:
            yield from self._given(entry, evaluation)
        if "random" not in block.method:
            return
        for encoder, seed in product(block.encoder, block.seed or RANDOM_SEEDS):
            config = self._config(entry, "random", encoder, evaluation.size, seed, ())
            if config is None:
                continue
            spec = self._specs.pretrain(config, (PoolPart(evaluation.fingerprint, evaluation.n_train),))
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
        for encoder, (i, weights) in product(entry.value.encoder, enumerate(entry.value.weights)):
            try:
                given = given_weights(weights, folder)
                settings = (("weights", given.identity),)
                config = self._config(entry, "weights", encoder, evaluation.size, 0, settings)
                if config is not None:
                    check_fit(given, encoder, evaluation.size)
            except ValueError as error:
                self._context.problem(self._context.path(entry, "weights", i), str(error))
                continue
            if config is not None:
                spec = self._specs.pretrain(config, ())
                yield Pretraining(
                    id=stage_id("pretrain", spec),
                    spec=spec,
                    datasets=(),
                    domain="",
                    images=None,
                    available=0,
                    weights=given.path,
                )

    def _config(
        self,
        entry: Entry[PretrainBlock],
        method: str,
        encoder: str,
        size: int,
        seed: int,
        settings: tuple[tuple[str, Any], ...],
    ) -> PretrainConfig | None:
        """The config of an encoder, made once; None if its settings are impossible."""
        key = (entry.path, method, encoder, size, seed, settings)
        if key not in self._configs:
            try:
                self._configs[key] = configured(method, encoder, size, seed, dict(settings))
            except FieldError as error:
                given = error.field in entry.value.model_fields_set
                path = self._size_path(size) if error.field == "image_size" else None
                path = path or ((*entry.path, error.field) if given else entry.path)
                self._context.problem(path, str(error))
                self._configs[key] = None
        return self._configs[key]

    def _size_path(self, size: int) -> KeyPath | None:
        """The place of the first dataset's size that is ``size``, if the grid gives it."""
        source, datasets = self._context.grid.source, self._context.grid.datasets.values()
        places = [(*entry.path, "size") for entry in datasets if entry.value.size == size]
        return next((path for path in places if path in source.marks), None)


def _choices(block: PretrainBlock) -> Iterator[_Choice]:
    methods = [method for method in block.method if method not in UNTRAINED]
    axes = (block.encoder, block.corruption, block.subset_seed, block.draw, block.imbalance)
    yield from map(_Choice._make, product(methods, *axes, block.seed or (0,), settings_of(block)))


def _part(d: DatasetInfo, n: int, choice: _Choice, labelled: bool) -> PoolPart:
    draw, seed = one_draw(n, _free(d, labelled), choice.draw, choice.imbalance, choice.subset_seed)
    return PoolPart(d.fingerprint, n, seed, draw, choice.imbalance, d.avoid, labelled and d.n_unlabeled > 0)


def _free(d: DatasetInfo, labelled: bool) -> int:
    """Number of images that a pretraining can draw from."""
    return d.n_free_labeled if labelled else d.n_free


# Why a pretraining is impossible; "" or None if it is possible ----------------------------------------


def _pool_problem(pool: Pool, members: tuple[DatasetInfo, ...]) -> str:
    if len({d.size for d in members}) > 1:
        sides = ", ".join(f"{d.name} {d.size}" for d in sorted(members, key=lambda d: d.name))
        return f"a pool needs images of one size; these are ({sides}) pixels: give them the same size"
    if len({d.fingerprint for d in members}) < len(members):
        return f"the pool {pool.label} holds the same images twice; remove one of its datasets"
    return ""


def _empty_member(members: tuple[DatasetInfo, ...], labelled: bool) -> str:
    empty = next((d for d in members if not _free(d, labelled)), None)
    if empty is None:
        return ""
    if empty.n_leaked:
        return (
            f"every training image of {empty.name!r} is a test image of the evaluations; give it other images"
        )
    return f"no training image of {empty.name!r} has a label, and this method or draw needs labels"


def _one_class(members: tuple[DatasetInfo, ...], method: str) -> str:
    if method not in LABELLED_METHODS or len(members) > 1 or members[0].n_classes != 1:
        return ""
    return f"{method} learns to tell classes apart, but {members[0].name!r} has one class only; give it more"


def _too_many(shares: dict[str, int], members: tuple[DatasetInfo, ...], labelled: bool) -> str:
    """The problem of the smallest member from which too many images are drawn."""
    for d in sorted(members, key=lambda d: (_free(d, labelled), d.name)):
        asked, free = shares[d.name], _free(d, labelled)
        if asked > free:
            kind = "labelled training images" if labelled else "training images"
            sound = " that are not test images" if d.n_leaked else ""
            if len(members) == 1:
                return f"is more than the {free} {kind} of {d.name!r}{sound}{_left_out([d])}"
            return f"takes {asked} of {d.name!r}, which has {free} {kind}{sound}{_left_out([d])}"
    return ""


def _left_out(members: Iterable[DatasetInfo]) -> str:
    """How many training images of these datasets the leakage guard leaves out; "" if none."""
    found = [
        f"; {d.n_leaked:,} of the {d.n_train:,} training images of {d.name!r} are also test images and are"
        " left out (leakage: drop)"
        for d in members
        if d.n_leaked
    ]
    return "".join(found)


def _batch_problem(
    config: PretrainConfig, images: int, block: PretrainBlock, members: tuple[DatasetInfo, ...]
) -> tuple[str, str] | None:
    """The key whose value is larger than the number of images, and the message."""
    given, key = block.model_fields_set, "batch" if config.batch > images else "queue"
    value = getattr(config, key)
    if value <= images or (key == "queue" and key not in given):
        return None
    what = key if key in given else "the default batch"
    remedy = f"set {key} to {images} or less"
    return key, f"{what} {value} is larger than {images} images; {remedy}{_left_out(members)}"


def _tail_problem(members: tuple[DatasetInfo, ...], drawn: tuple[int, ...], choice: _Choice) -> str:
    """Every class must be large enough for its place in the long tail, as far as class sizes are known."""
    for d, n in zip(members, drawn, strict=True):
        if choice.imbalance == 1 or not d.class_counts:
            continue
        most = largest_tail(d.free_class_counts, choice.imbalance, choice.subset_seed)
        if n > most:
            room = f"imbalance {choice.imbalance:g} of {d.name!r} has room for {most} images, not {n}"
            return f"{room}; use fewer images"
    return ""
