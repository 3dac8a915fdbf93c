"""``ssl-sweep migrate``: give finished stages of an older form the ids that plans ask for now.

The older form named datasets by fingerprints of everything in them. The new ids are computed from the specs
in the manifests, and from the keys and labels of the prepared datasets in the store. Every stage is copied
under its new id first. The old ones are removed only after all are copied, and those that others read come
last. So a migration that was killed can simply be started again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from ssl_sweep.data_ops.dataset.corruptions import NAMES, parse_corruption
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import ENCODERS, FEATURES, HEAD_OUTPUT
from ssl_sweep.sweep.errors import DamagedError, InfeasibleError
from ssl_sweep.sweep.planning.identities import Identities, StoredDraws
from ssl_sweep.sweep.planning.recipes import one_schedule
from ssl_sweep.sweep.spec.identity import KIND, from_form, full_form, short_hash, stage_id
from ssl_sweep.sweep.spec.specs import (
    STAGES,
    VERSIONS,
    FeatureSpec,
    FinetuneSpec,
    PoolPart,
    PretrainSpec,
    ProbeSpec,
    Spec,
    Stage,
)
from ssl_sweep.sweep.store.leases import drivers
from ssl_sweep.sweep.store.manifest import FORM, MIGRATED, Manifest
from ssl_sweep.sweep.store.store import Store

Progress = Callable[[int, int], None]
Form = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """A finished stage that keeps its old id, so that no plan finds it."""

    stage: Stage
    id: str
    reason: str


@dataclass(frozen=True)
class Migrated:
    """The outcome of a migration."""

    moved: Mapping[Stage, int]
    """Number of stages of each kind that have a new id."""
    kept: tuple[Kept, ...]

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep migrate --json`` prints."""
        return {"moved": dict(self.moved), "kept": [vars(kept) for kept in self.kept]}


class _UnmappableError(Exception):
    """Why a stage has no new id."""


def migrate(store_uri: str, on_progress: Progress = lambda done, total: None) -> Migrated:
    """Move every finished stage of an older form that can be mapped.

    Args:
        store_uri: The store.
        on_progress: Called as ``on_progress(done, total)``, in stages.

    Raises:
        StoreError: the store does not exist or cannot be written.
        InfeasibleError: a run may be using the store.
    """
    store = Store(store_uri)
    store.require_existing()
    store.check_writable()
    for driver in drivers(store.storage).values():
        if driver.alive is not False:
            raise InfeasibleError(
                f"driver {driver.driver}, seen {driver.since}, may still be running in this store",
                hint="wait for it to finish; if it died on another machine, the next run removes its record",
            )
    with store.survey():
        stages = [manifest for stage in STAGES for manifest in store.manifests(stage)]
        migration = _Migration(store, stages)
        old = [manifest for manifest in stages if manifest.old]
        kept = []
        for done, manifest in enumerate(old):
            on_progress(done, len(old))
            try:
                migration.copy(manifest)
            except _UnmappableError as why:
                kept.append(Kept(manifest.stage, manifest.id, str(why)))
    moved = [manifest for manifest in old if manifest.id in migration.ids]
    for manifest in reversed(moved):
        store.remove(manifest.stage, manifest.id)
    store.storage.put(MIGRATED, b"{}")
    return Migrated(Counter(manifest.stage for manifest in moved), tuple(kept))


class _Migration:
    """New ids, computed from the stages that are read to those that read them."""

    def __init__(self, store: Store, stages: list[Manifest]) -> None:
        self._store, self._stages = store, stages
        self._draws = StoredDraws(store)
        self._specs = Identities(self._draws)
        self.ids = {manifest.former: manifest.id for manifest in stages if manifest.former}
        """Old id → new id."""
        self._of = {m.id: m.spec for m in stages if m.stage == "features"}
        """Id of features, old or new → their spec."""

    def copy(self, old: Manifest) -> None:
        """Commit a copy of a stage under its new id.

        Raises:
            _UnmappableError: it has no new id.
        """
        if old.version != VERSIONS[old.stage]:
            raise _UnmappableError(
                f"version {old.version} of {old.stage} made it; the current one is {VERSIONS[old.stage]}"
            )
        try:
            spec = self._spec(old.stage, old.spec)
        except (ValueError, KeyError, TypeError, DataError) as error:
            raise _UnmappableError(f"its spec cannot be read: {error}") from error
        id = stage_id(old.stage, spec)
        if self._store.complete(old.stage, id) is None:
            names = {name: name.replace(old.id, id, 1) for name in old.files}
            new = replace(
                old,
                id=id,
                spec=full_form(spec),
                upstream=tuple(self.ids.get(up, up) for up in old.upstream),
                files={names[name]: size for name, size in old.files.items()},
                sha256={names[name]: digest for name, digest in old.sha256.items()},
                outputs={**old.outputs, **self._untested(spec)},
                form=FORM,
                former=old.id,
            )
            try:
                self._store.adopt(old, new)
            except DamagedError as error:
                raise _UnmappableError(str(error)) from error
        self.ids[old.id] = id

    def _spec(self, stage: Stage, form: Form) -> Spec:
        match stage:
            case "pretrain":
                return self._pretrain(form)
            case "features":
                return self._features(form)
            case "probe":
                return self._probe(form)
            case _:
                return self._finetune(form)

    def _pretrain(self, form: Form) -> PretrainSpec:
        parts = [from_form(PoolPart, part) for part in form["parts"]]
        for fingerprint in (f for part in parts for f in (part.fingerprint, *part.avoid)):
            self._require(fingerprint)
        parts.sort(key=lambda part: (self._draws[part.fingerprint].first_key, part.fingerprint))
        config = one_schedule(from_form(PretrainConfig, form["config"]))
        corruption = form.get("corruption", "none"), form.get("corruption_seed", 0)
        return self._specs.pretrain(config, tuple(parts), *corruption)

    def _features(self, form: Form) -> FeatureSpec:
        self._require(form["fingerprint"])
        return self._specs.features(
            self._new("encoder", form["encoder"]),
            form["fingerprint"],
            form["split"],
            form.get("corruption", "none"),
            form.get("representation", FEATURES),
            form.get("corruption_seed", 0),
        )

    def _probe(self, form: Form) -> ProbeSpec:
        train, test = (
            tuple(self._feature(id) for id in form[name]) for name in ("train_features", "test_features")
        )
        config: Form = form["config"]
        knn = config[KIND] == KnnConfig.TAG
        made = from_form(KnnConfig, config) if knn else from_form(ProbeConfig, config)
        fingerprint = self._of[form["test_features"][0]]["fingerprint"]
        seed, judged, found = self._judged(form, fingerprint)
        return ProbeSpec(train, test, judged, seed, made, *found)

    def _finetune(self, form: Form) -> FinetuneSpec:
        fingerprint = form["fingerprint"]
        seed, judged, found = self._judged(form, fingerprint)
        return FinetuneSpec(
            self._new("encoder", form["encoder"]),
            judged,
            seed,
            from_form(FinetuneConfig, form["config"]),
            self._specs.pixels(fingerprint),
            form.get("corruption", "none"),
            form.get("corruption_seed", 0),
            *found,
        )

    def _judged(self, form: Form, fingerprint: str) -> tuple[int, str, tuple[Any, ...]]:
        """The seed, the digest of the labels, and where they are found: the last fields of the spec."""
        self._require(fingerprint)
        n, draw, seed, level = form["n_labels"], form["draw"], form["seed"], form.get("level", "")
        imbalance, copies = form.get("imbalance", 1.0), form.get("without_copies", False)
        judged = self._specs.judged(fingerprint, level, n, seed, draw, imbalance, copies)
        return seed, judged, (fingerprint, n, draw, imbalance, level, copies)

    def _untested(self, spec: Spec) -> dict[str, Any]:
        """What newer answers also keep; see ``Draws.untested``."""
        if not isinstance(spec, ProbeSpec | FinetuneSpec):
            return {}
        draws = self._draws[spec.fingerprint]
        rows = draws.budget(spec.n_labels, spec.seed, spec.draw, spec.imbalance, spec.without_copies)
        return {"untested": draws.untested(spec.level, rows)}

    def _require(self, fingerprint: str) -> None:
        if fingerprint not in self._draws:
            raise _UnmappableError(
                f"the store no longer has the prepared images that it was made from ({fingerprint[:16]})"
            )

    def _new(self, what: str, id: str) -> str:
        if id not in self.ids:
            raise _UnmappableError(f"its {what} {id} could not be mapped")
        return self.ids[id]

    def _feature(self, id: str) -> str:
        """The new id of features, which may have been deleted after their last use."""
        if id not in self.ids and id in self._deleted:
            self._of[id] = form = self._deleted[id]
            self.ids[id] = stage_id("features", self._features(form))
        return self._new("features", id)

    @cached_property
    def _deleted(self) -> Mapping[str, Form]:
        """Old id → spec of all features that the encoders here could have had."""
        return dict(self._possible())

    def _possible(self) -> Iterator[tuple[str, Form]]:
        encoders = [m.former or m.id for m in self._stages if m.stage == "pretrain"]
        outputs = {FEATURES, HEAD_OUTPUT, *(layer for info in ENCODERS.values() for layer in info.layers)}
        damages = {
            *(parse_corruption(name).canonical for name in NAMES),
            *(form.get("corruption", "none") for form in self._of.values()),
        }
        for encoder, data, split, damage, output in product(
            encoders, self._draws, ("train", "test"), damages, outputs
        ):
            form = {KIND: "FeatureSpec", "encoder": encoder, "fingerprint": data, "split": split}
            form |= {"corruption": damage} if damage != "none" else {}
            form |= {"representation": output} if output != FEATURES else {}
            text = json.dumps(form, sort_keys=True, separators=(",", ":"))
            yield short_hash(f"features/{VERSIONS['features']}/{text}"), form
