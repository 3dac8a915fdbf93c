"""The evaluations of a grid: what each block asks of an encoder, or of several encoders with joined features.

A label budget of all images has draw ``uniform`` and probe seed 0. The settings of one protocol do not
multiply the cells of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from ssl_sweep.data_ops.dataset.subsets import largest_tail, smallest_tail
from ssl_sweep.ssl_core.config.plugins import encoder_info
from ssl_sweep.ssl_core.config.registry import FEATURES, HEAD_OUTPUT, TWO_VIEWS
from ssl_sweep.sweep.errors import did_you_mean
from ssl_sweep.sweep.grid.load import Entry
from ssl_sweep.sweep.grid.schema import EvaluateBlock
from ssl_sweep.sweep.grid.sizes import Size
from ssl_sweep.sweep.planning.cells import Cell, Features, Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.expand_context import Expansion, one_draw
from ssl_sweep.sweep.planning.match import matcher
from ssl_sweep.sweep.planning.recipes import recipes_of
from ssl_sweep.sweep.protocols import PROTOCOLS, protocol_of
from ssl_sweep.sweep.spec.identity import short_hash, stage_id
from ssl_sweep.sweep.spec.specs import Answer, FeatureSpec, FinetuneSpec, ProbeSpec

Encoders = tuple[Pretraining, ...]


class Evaluations:
    """The cells of one expansion. Problems are added to its context."""

    def __init__(self, context: Expansion) -> None:
        self._context = context
        self._specs = context.identities
        self._features: dict[object, Features] = {}

    def testable(self, evaluation: DatasetInfo, entry: Entry[EvaluateBlock], i: int) -> bool:
        """Whether the dataset, value ``i`` of the block's ``domain``, has test images and several classes."""
        message = ""
        if evaluation.n_test == 0:
            message = f"{evaluation.name!r} has no test images; give its dataset a test or test_fraction"
        elif evaluation.n_classes == 1:
            message = (
                f"the training images of {evaluation.name!r} have one class only, so every answer would be"
                " that class; add images of another class, or use this dataset only in pretrain"
            )
        if message:
            self._context.problem(self._context.path(entry, "domain", i), message)
        return not message

    def fused(self, entry: Entry[EvaluateBlock], available: Iterable[Pretraining]) -> Iterator[Encoders]:
        """The sets of encoders whose features the block joins.

        A set has one encoder for each rule, all with the same pretraining seed unless a rule names seeds.
        """
        context, known = self._context, {p.id: p for p in available}
        if trains := [name for name in entry.value.protocol if PROTOCOLS[name].trains]:
            name = trains[0]
            message = f"fuse joins features, but {name} trains one encoder; move {name} to another block"
            context.problem((*entry.path, "fuse"), message)
            return
        for i, rules in enumerate(entry.value.fuse):
            path = context.path(entry, "fuse", i)
            chosen: list[list[Pretraining]] = []
            for j, rule in enumerate(rules):
                made, problems = matcher(rule, (*path, j), context.grid.source, pretraining_only=True)
                context.problems += problems
                chosen.append([p for p in known.values() if made.fits(p)])
            seeded = any("pretrain_seed" in rule for rule in rules)
            sets = [
                encoders
                for encoders in product(*chosen)
                if len({p.id for p in encoders}) == len(encoders)
                and (seeded or len({p.seeds[1] for p in encoders}) == 1)
            ]
            if known and not sets:
                message = "no encoders match these rules together"
                if not seeded:
                    message += " and have the same pretrain_seed; to join different ones, name it in a rule"
                context.problem(path, message)
            yield from sets

    def cells(
        self, entry: Entry[EvaluateBlock], encoders: Encoders, evaluation: DatasetInfo
    ) -> Iterator[Cell]:
        """Every cell of the block for one encoder, or for several with joined features."""
        block, levels = entry.value, self._levels(entry, evaluation)
        copies = any(evaluation.copied_classes)
        for j, labels in enumerate(block.labels):
            n = labels.resolve(evaluation.n_labeled)
            path = self._context.path(entry, "labels", j)
            if not 1 <= n <= evaluation.n_labeled:
                kind = "labelled training" if evaluation.n_unlabeled else "training"
                has = f"{evaluation.name!r} has {evaluation.n_labeled} {kind} images"
                if copies:
                    gone = sum(evaluation.copied_classes)
                    has += f", and {gone} that are also its test images (leakage: drop)"
                self._context.problem(path, f"labels: {labels.text} is {n} images; {has}")
                continue
            if n < 2:
                self._context.problem(path, f"labels: {labels.text} is one image; give two or more")
                continue
            recipes = recipes_of(block, encoders[0].spec.config, n, evaluation.n_labeled)
            for corruption, draw, imbalance, seed, recipe, level in product(
                block.corruption, block.draw, block.imbalance, block.seed, recipes, levels
            ):
                draw, seed = one_draw(n, evaluation.n_labeled, draw, imbalance, seed)
                if not self._tail_fits(evaluation, n, imbalance, seed, entry):
                    continue
                if not self._context.survives(corruption, evaluation.size, entry):
                    continue
                found = (evaluation.fingerprint, n, draw, imbalance, level, copies)
                judged = self._specs.judged(found[0], level, n, seed, draw, imbalance, copies)
                if protocol_of(recipe).trains:
                    pixels = self._specs.pixels(found[0])
                    tuned = FinetuneSpec(encoders[0].id, judged, seed, recipe, pixels, corruption, 0, *found)
                    yield _cell(encoders, evaluation, labels, corruption, tuned)
                    continue
                for representation in block.representation:
                    if all(representation in outputs_of(p) for p in encoders):
                        features = self._features_of(encoders, evaluation, corruption, representation)
                        train, test = (tuple(ids) for ids in features)
                        probe = ProbeSpec(train, test, judged, seed, recipe, *found)
                        yield _cell(encoders, evaluation, labels, corruption, probe, representation, features)

    def _levels(self, entry: Entry[EvaluateBlock], evaluation: DatasetInfo) -> tuple[str, ...]:
        """The levels whose labels are learnt; the finest is "". They are not checked before the dataset is
        prepared."""
        known, found = evaluation.levels, list[str]()
        for i, name in enumerate(entry.value.train_level):
            if name == "each":
                found += known or ("",)
            elif name == "finest" or not known or name in known:
                found.append("" if name == "finest" else name)
            else:
                message = f"{evaluation.name!r} has no level {name!r}{did_you_mean(name, known)}"
                self._context.problem(self._context.path(entry, "train_level", i), message)
        return tuple(dict.fromkeys("" if name in known[:1] else name for name in found))

    def _tail_fits(
        self, evaluation: DatasetInfo, n: int, imbalance: float, seed: int, entry: Entry[EvaluateBlock]
    ) -> bool:
        if imbalance == 1:
            return True
        if n < (fewest := smallest_tail(evaluation.n_classes, imbalance)):
            has = f"{n} labels of {evaluation.name!r} are all of one class; give {fewest} labels or more"
            self._context.problem((*entry.path, "imbalance"), f"imbalance {imbalance:g}: {has}")
            return False
        if not evaluation.class_counts:
            return True
        most = largest_tail(evaluation.label_counts, imbalance, seed)
        if n > most:
            has = f"{evaluation.name!r} has room for {most} labels, not {n}"
            self._context.problem((*entry.path, "imbalance"), f"imbalance {imbalance:g} of {has}")
        return n <= most

    def _features_of(
        self, encoders: Encoders, evaluation: DatasetInfo, corruption: str, representation: str
    ) -> Features:
        """The features of the training and of the test images, one for each encoder, by id."""
        asked = (tuple(p.id for p in encoders), evaluation.fingerprint, corruption, representation)
        if asked not in self._features:
            made = self._specs.features
            ids, fingerprint = asked[:2]
            train = [made(id, fingerprint, "train", "none", representation) for id in ids]
            test = [made(id, fingerprint, "test", corruption, representation) for id in ids]
            self._features[asked] = _by_id(train), _by_id(test)
        return self._features[asked]


def _by_id(specs: Iterable[FeatureSpec]) -> dict[str, FeatureSpec]:
    return {stage_id("features", spec): spec for spec in specs}


def outputs_of(pretraining: Pretraining) -> tuple[str, ...]:
    """The representations that an encoder can give."""
    config = pretraining.spec.config
    head = (HEAD_OUTPUT,) if config.method in TWO_VIEWS and config.head_layers > 0 else ()
    return (FEATURES, *head, *encoder_info(config.encoder).layers)


def _cell(
    encoders: Encoders,
    evaluation: DatasetInfo,
    labels: Size,
    corruption: str,
    answer: Answer,
    representation: str = FEATURES,
    features: Features = ({}, {}),
) -> Cell:
    id = stage_id(answer.STAGE, answer)
    row = f"{id}/{'/'.join(p.domain for p in encoders)}/{evaluation.name}/{labels.canonical}"
    return Cell(
        id=short_hash(f"cell/{row}"),
        pretraining=encoders[0],
        fused=encoders[1:],
        evaluation=evaluation,
        labels=labels,
        corruption=corruption,
        representation=representation,
        features=features,
        probe=answer,
        probe_id=id,
    )
