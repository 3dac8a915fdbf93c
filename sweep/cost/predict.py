"""What each stage of a plan takes on a machine: seconds and devices, with the source of the figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median

from ssl_sweep.ssl_core.config.plugins import encoder_info
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import UNTRAINED
from ssl_sweep.sweep.cost.arithmetic import speed
from ssl_sweep.sweep.cost.machine import Machine, cpus_per_gpu
from ssl_sweep.sweep.cost.rates import Rates, RateSource, calibrations, images_seen
from ssl_sweep.sweep.execution.runtime import TrainPlan
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.protocols import protocol_of
from ssl_sweep.sweep.spec.specs import FeatureSpec, FinetuneSpec, PrepareSpec, PretrainSpec, ProbeSpec
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store

# Seconds before the first step, by mode: starting a group of worker processes took 21 s on 2 cores.
_START_S = {"workers": 20.0, "in-process": 1.0}
_PREPARE_IMAGES_PER_S = 2_000.0
_INITIALISE_S = 2.0
_VIEWS = 2
_PASSES = 3  # forward once, backward twice
_PROBE_S, _CLASSES = 0.2, 100  # seconds in addition to the arithmetic; classes before a dataset is prepared
_LIGHT_GPUS = 0.25  # share of a GPU that light work takes
_MOST_READ = 300  # finished stages of each kind to learn from; there may be many thousands
IN_PROCESS_BELOW_S = 60.0
"""A training that is predicted to take fewer seconds runs in Train's in-process mode. Starting a worker group
takes about 15 s on two cores, more than so short a training gains from Train's fault tolerance."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How long one stage takes, and on what."""

    seconds: float
    """Seconds of the work itself."""
    devices: float
    """Devices that it holds at once."""
    gpu: bool
    """Whether these are GPUs; else they are CPU cores."""
    source: RateSource
    note: str = ""
    """What a scaled figure was scaled from."""
    start_s: float = 0.0
    """Seconds before and after the work."""

    @property
    def device_s(self) -> float:
        """Device-seconds."""
        return (self.seconds + self.start_s) * self.devices


@dataclass(frozen=True)
class Experience:
    """How long finished stages of a store took."""

    rates: Rates
    """The rates of trainings."""
    images: Mapping[tuple[str, str, int, str, str], float]
    """(stage, encoder, image size, device, hardware) → median seconds per image."""
    probes: Mapping[tuple[tuple[str, int], int], float]
    """((protocol, its effort), labels) → median seconds of a probe."""

    @classmethod
    def of(cls, store: Store) -> Experience:
        """Read the manifests of a store, at most 300 of each kind but all of trainings."""
        with store.survey():
            return cls._of(store)

    @classmethod
    def _of(cls, store: Store) -> Experience:
        trainings = list(store.manifests("pretrain"))
        rates = Rates.read(trainings, calibrations(store.storage))
        specs = {manifest.id: manifest.typed() for manifest in trainings}
        encoders = {id: spec.config for id, spec in specs.items() if isinstance(spec, PretrainSpec)}
        images: dict[tuple[str, str, int, str, str], list[float]] = defaultdict(list)
        for stage in ("prepare", "features", "finetune"):
            for manifest in islice(store.manifests(stage), _MOST_READ):
                if (found := _per_image(manifest, encoders)) is not None:
                    images[found[0]].append(found[1])
        probes: dict[tuple[tuple[str, int], int], list[float]] = defaultdict(list)
        for manifest in islice(store.manifests("probe"), _MOST_READ):
            if isinstance(spec := manifest.typed(), ProbeSpec):
                probes[_kind(spec), spec.n_labels].append(manifest.run.seconds)
        return cls(
            rates,
            {key: median(values) for key, values in images.items()},
            {shape: median(values) for shape, values in probes.items()},
        )


def in_process(compute: Compute, seconds: float) -> bool:
    """Whether a training that takes ``seconds`` runs inside its trial, without a worker group."""
    if compute.mode == "auto":
        return compute.workers == 1 and seconds < IN_PROCESS_BELOW_S
    return compute.mode == "in-process"


def train_plan(stage: PlannedStage, compute: Compute, predicted: Prediction, place: Machine) -> TrainPlan:
    """Return the resources of one training and the mode that runs it.

    They do not depend on what else is to run. The number of threads can change the last bits of a sum, and a
    resumed sweep must give the same numbers as an undisturbed one. Both modes read the same checkpoints.
    """
    on_gpu = place.device == "gpu"
    # A fine-tuning sees only a label budget: it is short and has one worker.
    single = isinstance(stage.spec, FinetuneSpec)
    return TrainPlan(
        workers=1 if single else compute.workers,
        cpus=float(compute.cpus_per_worker or (cpus_per_gpu(place) if on_gpu else 1)),
        gpus=(compute.gpus_per_worker or 1.0) if on_gpu else 0.0,
        in_process=single or in_process(compute, predicted.seconds),
        predicted_s=round(predicted.seconds, 3),
        predicted_from=predicted.source,
        least=0 if single else compute.min_workers or 0,
        spread=compute.placement == "spread",
    )


def predict(plan: Plan, known: Experience, machine: Machine, compute: Compute) -> dict[str, Prediction]:
    """Predict every stage of the plan, finished or not; by id."""
    return _Predictor(plan, known, machine, compute).all()


class _Predictor:
    def __init__(self, plan: Plan, known: Experience, machine: Machine, compute: Compute) -> None:
        self._plan, self._known, self._machine, self._compute = plan, known, machine, compute
        self._probes: dict[tuple[str, int], dict[int, float]] = {}
        self._configs = {s.id: s.spec.config for s in plan.stages if isinstance(s.spec, PretrainSpec)}
        infos = [info for cell in plan.cells for info in cell.datasets]
        self._by_fingerprint = {info.fingerprint: info for info in infos}
        self._by_prepare = {info.prepare_id: info for info in infos}
        self._evaluated = {cell.probe_id: cell.evaluation for cell in plan.cells}
        self._gpus = (compute.gpus_per_worker or 1.0) if machine.device == "gpu" else 0.0

    def all(self) -> dict[str, Prediction]:
        return {stage.id: self._of(stage) for stage in self._plan.stages}

    def _of(self, stage: PlannedStage) -> Prediction:
        match stage.spec:
            case PretrainSpec() if stage.trains:
                return self._training(stage.spec)
            case PretrainSpec():
                return self._light(_INITIALISE_S, "default guess")
            case FeatureSpec(encoder=encoder, fingerprint=fingerprint, split=split):
                info = self._by_fingerprint[fingerprint]
                images = info.n_train if split == "train" else info.n_test
                each, source = self._image("features", self._configs[encoder])
                part = _LIGHT_GPUS if self._gpus else 1.0
                whole = 1.0 if source == "measured" else part  # measured stages had the same share of a GPU
                return self._light(images * each / whole, source, part, gpu=self._gpus > 0)
            case FinetuneSpec(encoder=encoder, n_labels=labels, config=tuning):
                images = tuning.total_views(labels)
                each, source = self._image("finetune", self._configs[encoder])
                return self._light(images * each, source, self._gpus or self._cpus(), gpu=self._gpus > 0)
            case ProbeSpec():
                return self._probe(stage.id, stage.spec)
            case _:
                info = self._by_prepare[stage.id]
                known = self._known.images.get(("prepare", "", info.size, "cpu", ""))
                images = info.n_train + info.n_test
                each = known or 1 / _PREPARE_IMAGES_PER_S
                return self._light(images * each, "measured" if known else "default guess")

    def _cpus(self) -> float:
        return float(self._compute.cpus_per_worker or 1)

    @staticmethod
    def _light(seconds: float, source: RateSource, devices: float = 1.0, gpu: bool = False) -> Prediction:
        return Prediction(seconds=seconds, devices=devices, gpu=gpu, source=source)

    def _training(self, spec: PretrainSpec) -> Prediction:
        workers = self._compute.workers
        rate = self._known.rates.rate(spec.config, self._machine, workers)
        seconds = rate.per_image_s * images_seen(spec) / workers
        images = sum(part.images for part in spec.parts)
        epochs = spec.config.total_steps(images) / max(1, images // spec.config.batch)
        seconds += epochs * rate.epoch_s
        seconds += seconds / self._compute.checkpoint_every_s * rate.checkpoint_s
        mode = "in-process" if in_process(self._compute, seconds) else "workers"
        place = (self._machine.device, self._machine.hardware)
        return Prediction(
            seconds=seconds,
            devices=workers * (self._gpus or self._cpus()),
            gpu=self._gpus > 0,
            source=rate.source,
            note=rate.note,
            start_s=_START_S[mode] + self._known.rates.overheads.get(place, 0.0),
        )

    def _image(self, stage: str, config: PretrainConfig) -> tuple[float, RateSource]:
        """Seconds per image: features take one view forward, fine-tunings one forward and back."""
        machine = self._machine
        key = (stage, config.encoder, config.image_size, machine.device, machine.hardware)
        if (measured := self._known.images.get(key)) is not None:
            return measured, "measured"
        if config.method in UNTRAINED:  # its encoder costs the same as one that SimCLR trains
            config = replace(config, method="simclr", weights="")
        rate = self._known.rates.rate(config, machine)
        part = 1 / (_VIEWS * _PASSES) if stage == "features" else 1 / _VIEWS
        if rate.source == "default guess":
            work = encoder_info(config.encoder).multiply_adds(config.image_size) * _VIEWS * _PASSES
            return part * work / speed(machine.device, machine.hardware), "default guess"
        return rate.per_image_s * part, "scaled"

    def _probe(self, id: str, spec: ProbeSpec) -> Prediction:
        kind = _kind(spec)
        if kind not in self._probes:
            self._probes[kind] = {n: s for (of, n), s in self._known.probes.items() if of == kind}
        known = self._probes[kind]
        if spec.n_labels in known:
            return self._light(known[spec.n_labels], "measured")
        if known:
            near = min(known, key=lambda labels: abs(labels - spec.n_labels))
            return self._light(known[near] * max(0.2, spec.n_labels / max(1, near)), "scaled")
        info = self._evaluated[id]
        classes = len(info.class_counts) or _CLASSES
        width = encoder_info(self._encoder_of(spec)).feature_dim * len(spec.train_features)
        work = protocol_of(spec.config).multiply_adds(spec.config, spec.n_labels, width, classes)
        return self._light(_PROBE_S + work / (speed("cpu", "") * 1e9), "default guess")

    def _encoder_of(self, spec: ProbeSpec) -> str:
        features = self._plan.by_id[spec.train_features[0]].spec
        assert isinstance(features, FeatureSpec)
        return self._configs[features.encoder].encoder


def _kind(spec: ProbeSpec) -> tuple[str, int]:
    protocol = protocol_of(spec.config)
    return protocol.name, protocol.effort(spec.config)


def _per_image(
    manifest: Manifest, encoders: Mapping[str, PretrainConfig]
) -> tuple[tuple[str, str, int, str, str], float] | None:
    """Return a key of ``Experience.images`` and the seconds per image; None if the manifest lacks them."""
    run, spec, outputs = manifest.run, manifest.typed(), manifest.outputs
    if isinstance(spec, PrepareSpec):
        images = int(outputs.get("n_train") or 0) + int(outputs.get("n_test") or 0)
        return (("prepare", "", spec.size, "cpu", ""), run.seconds / images) if images else None
    config = encoders.get(spec.encoder) if isinstance(spec, FeatureSpec | FinetuneSpec) else None
    if config is None:
        return None
    key = (manifest.stage, config.encoder, config.image_size, run.device, run.hardware)
    if isinstance(spec, FinetuneSpec):
        images = spec.config.total_views(spec.n_labels)
    else:
        images = int((outputs.get("shape") or (0,))[0])
    return (key, run.seconds / images) if images else None
