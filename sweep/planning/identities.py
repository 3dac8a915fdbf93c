"""Makes specs whose identities name images and labels by digests, not by their place.

A dataset that is not prepared, or not at hand, has no digest yet: a text that starts with ``unprepared:``
stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np

from ssl_sweep.data_ops.dataset.digests import digest, united
from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.prepared import FIRST_RULE, PreparedDataset
from ssl_sweep.data_ops.dataset.subsets import Draw
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import LABELLED_METHODS, METHODS
from ssl_sweep.sweep.errors import DamagedError
from ssl_sweep.sweep.spec.files import COMPARED
from ssl_sweep.sweep.spec.identity import canonical_json, short_hash
from ssl_sweep.sweep.spec.specs import UNPREPARED, FeatureSpec, PoolPart, PretrainSpec
from ssl_sweep.sweep.store.store import Store


class StoredDraws(Mapping[str, Draws]):
    """The prepared datasets of a store, by fingerprint. Each is opened when first asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ids = {str(m.outputs.get("fingerprint")): m.id for m in store.manifests("prepare")}
        self._open: dict[str, Draws] = {}

    def __getitem__(self, fingerprint: str) -> Draws:
        """Raises KeyError if the store has no such images, or they are damaged."""
        if fingerprint not in self._open:
            try:
                folder = self._store.fetch("prepare", self._ids[fingerprint], COMPARED)
                self._open[fingerprint] = Draws(PreparedDataset(folder / "data"))
            except (DamagedError, DataError) as error:
                raise KeyError(fingerprint) from error
        return self._open[fingerprint]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


class Identities:
    """Makes specs. Each distinct draw is digested once."""

    def __init__(self, draws: Mapping[str, Draws]) -> None:
        """``draws``: the prepared datasets, by fingerprint."""
        self._draws = draws
        self._parts: dict[tuple[tuple[PoolPart, ...], bool], str] = {}
        self._judged: dict[tuple[str, str, int, int, Draw, float, bool], str] = {}

    def pretrain(
        self,
        config: PretrainConfig,
        parts: tuple[PoolPart, ...],
        corruption: str = "none",
        corruption_seed: int = 0,
    ) -> PretrainSpec:
        """The spec of an encoder from the images of ``parts``."""
        return PretrainSpec(
            config,
            self._digest(parts, classes=False),
            self._digest(parts, classes=True) if may_read_labels(config.method) else "",
            self.pixels(*(part.fingerprint for part in parts)),
            corruption,
            corruption_seed,
            parts,
        )

    def features(
        self,
        encoder: str,
        fingerprint: str,
        split: Literal["train", "test"],
        corruption: str,
        representation: str,
        corruption_seed: int = 0,
    ) -> FeatureSpec:
        """The spec of the features of one split."""
        draws = self._draws.get(fingerprint)
        return FeatureSpec(
            encoder,
            draws.split(split) if draws else f"{UNPREPARED}{split} of {fingerprint}",
            self.pixels(fingerprint),
            corruption,
            corruption_seed,
            representation,
            fingerprint,
            split,
        )

    def judged(
        self,
        fingerprint: str,
        level: str,
        n_labels: int,
        seed: int,
        draw: Draw,
        imbalance: float,
        without_copies: bool,
    ) -> str:
        """The digest of a label budget and the test images by class; see ``Draws.judged``."""
        key = (fingerprint, level, n_labels, seed, draw, imbalance, without_copies)
        if key not in self._judged:
            draws = self._draws.get(fingerprint)
            self._judged[key] = draws.judged(*key[1:]) if draws else f"{UNPREPARED}{key}"
        return self._judged[key]

    def pixels(self, *fingerprints: str) -> str:
        """How the images of these datasets became pixels."""
        known = [self._draws[f].data.manifest.pixels for f in fingerprints if f in self._draws]
        return " and ".join(sorted(set(known))) or FIRST_RULE

    def _digest(self, parts: tuple[PoolPart, ...], *, classes: bool) -> str:
        key = (parts, classes)
        if key not in self._parts:
            self._parts[key] = self._computed(parts, classes) if parts else ""
        return self._parts[key]

    def _computed(self, parts: tuple[PoolPart, ...], classes: bool) -> str:
        if any(part.fingerprint not in self._draws for part in parts):
            return UNPREPARED + short_hash(canonical_json(parts))
        sums = []
        for part in parts:
            draws = self._draws[part.fingerprint]
            avoid = [self._draws[fingerprint] for fingerprint in part.avoid]
            drawn: Callable[..., np.ndarray] = draws.classes if classes else draws.images
            sums.append(drawn(part.images, part.subset_seed, part.draw, part.imbalance, part.labelled, avoid))
        return digest(np.concatenate(sums)) if classes else digest(united(sums))


def may_read_labels(method: str) -> bool:
    """Whether a method learns from labels. An added method counts as one that does: it is unknown."""
    return method in LABELLED_METHODS or method not in METHODS
