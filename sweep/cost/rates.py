"""How long trainings take: a rate for each shape of training, with its source.

A rate is the seconds that one device (a GPU or a CPU core) takes for one pretraining image with all its
views. The first source that has one is used:

    measured       finished trainings of this shape on the same hardware
    calibrated     ``ssl-sweep calibrate`` on the same hardware
    scaled         one of these for another method, batch, precision or hardware, scaled by arithmetic
    default guess  arithmetic only
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Literal

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.sweep.cost.arithmetic import seconds_per_image
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.spec.identity import short_hash
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.records import Storage
from ssl_sweep.sweep.store.store import Store

RateSource = Literal["measured", "calibrated", "scaled", "default guess"]
"""Where a figure comes from; the docstring of this module explains each."""
SOURCES: tuple[RateSource, ...] = ("measured", "calibrated", "scaled", "default guess")
_FOLDER = "rates"


@dataclass(frozen=True, kw_only=True, order=True)
class Shape:
    """What decides how long a step takes."""

    method: str
    encoder: str
    image_size: int
    """Side of an image in pixels."""
    batch: int
    """Images per step of one worker."""
    precision: str
    device: str
    """``cpu`` (one core) or ``gpu``."""
    hardware: str
    """Name of the device."""

    @property
    def label(self) -> str:
        """The shape in words, such as ``simclr · resnet18 · 32 px · batch 256 · bfloat16``."""
        words = (self.method, self.encoder, f"{self.image_size} px", f"batch {self.batch}", self.precision)
        return " · ".join(words)


def shape_of(config: PretrainConfig, device: str, hardware: str, workers: int = 1) -> Shape:
    """Return the shape of a training on ``workers`` workers."""
    return Shape(
        method=config.method,
        encoder=config.encoder,
        image_size=config.image_size,
        batch=config.batch // max(1, workers),
        precision=config.precision,
        device=device,
        hardware=hardware,
    )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One measurement by ``ssl-sweep calibrate``, in the store as ``rates/<hash of the shape>.json``."""

    shape: Shape
    step_s: float
    """Seconds per step."""
    epoch_s: float
    """Seconds that the end of an epoch adds."""
    checkpoint_s: float
    """Seconds per checkpoint."""
    steps: int
    """Steps timed after the warm-up, in each copy."""
    copies: int
    """Trainings that ran at the same time."""
    time: str
    """When it was measured, ISO 8601 in UTC."""


def calibrations(storage: Storage) -> Mapping[Shape, Calibration]:
    """Return every calibration of a store; damaged records are skipped."""
    found = {}
    for name in storage.names(_FOLDER):
        record = storage.read(f"{_FOLDER}/{name}")
        try:
            facts = json.loads(record.data) if record is not None else {}
            known = Calibration(**{**facts, "shape": Shape(**facts["shape"])})
        except (ValueError, KeyError, TypeError):
            continue
        found[known.shape] = known
    return found


def save_calibration(storage: Storage, calibration: Calibration) -> None:
    """Save a calibration; it replaces an earlier one of the same shape.

    Raises:
        StoreError, OSError: the store cannot be written.
    """
    name = short_hash(json.dumps(asdict(calibration.shape), sort_keys=True))
    storage.put(f"{_FOLDER}/{name}.json", json.dumps(asdict(calibration)).encode())


def images_seen(spec: PretrainSpec) -> int:
    """Return how many images, not views, a training goes through in all its epochs or steps."""
    config = spec.config
    return max(1, config.batch * config.total_steps(sum(part.images for part in spec.parts)))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How long a training takes on one device."""

    per_image_s: float
    """Seconds per image."""
    source: RateSource
    note: str = ""
    """What a scaled rate was scaled from."""
    epoch_s: float = 0.0
    """Seconds at the end of each epoch; 0 if ``per_image_s`` includes them."""
    checkpoint_s: float = 0.0
    """Seconds per checkpoint; 0 if ``per_image_s`` includes them."""


@dataclass(frozen=True)
class Rates:
    """The rates that a store knows."""

    measured: Mapping[Shape, float] = field(default_factory=dict)
    """Seconds per image: the median of the finished trainings of each shape."""
    calibrated: Mapping[Shape, Calibration] = field(default_factory=dict)
    overheads: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(device, hardware) → median seconds that trainings took outside their epochs."""

    @classmethod
    def of(cls, store: Store) -> Rates:
        """Read the finished trainings and the calibrations of a store."""
        return cls.read(store.manifests("pretrain"), calibrations(store.storage))

    @classmethod
    def read(cls, trainings: Iterable[Manifest], calibrated: Mapping[Shape, Calibration]) -> Rates:
        """Like ``of``, from manifests and calibrations that were read already."""
        seen: dict[Shape, list[float]] = defaultdict(list)
        beyond: dict[tuple[str, str], list[float]] = defaultdict(list)
        for manifest in trainings:
            found = _measured(manifest)
            if found is None:
                continue
            shape, per_image, overhead = found
            seen[shape].append(per_image)
            if overhead is not None:
                beyond[shape.device, shape.hardware].append(overhead)
        return cls(
            {shape: median(values) for shape, values in seen.items()},
            calibrated,
            {place: median(values) for place, values in beyond.items()},
        )

    def rate(self, config: PretrainConfig, machine: Machine, workers: int = 1) -> Rate:
        """Return the rate of a training on ``workers`` devices of ``machine``.

        If the hardware of ``machine`` is unknown, it counts as the hardware with the most known rates.
        """
        hardware = machine.hardware or self._usual_hardware(machine.device)
        shape = shape_of(config, machine.device, hardware, workers)
        if (measured := self.measured.get(shape)) is not None:
            return Rate(per_image_s=measured, source="measured")
        if (known := self.calibrated.get(shape)) is not None:
            return _calibrated(known, "calibrated")
        candidates = [s for s in (*self.measured, *self.calibrated) if _related(s, shape)]
        if not candidates:
            seconds = seconds_per_image(config, machine.device, hardware)
            return Rate(per_image_s=seconds, source="default guess")
        near = min(candidates, key=lambda s: _distance(s, shape))
        factor = _by_arithmetic(config, shape) / _by_arithmetic(config, near)
        note = f"from {_difference(near, shape)}"
        if near in self.measured:
            return Rate(per_image_s=self.measured[near] * factor, source="scaled", note=note)
        scaled = _calibrated(self.calibrated[near], "scaled")
        return replace(scaled, per_image_s=scaled.per_image_s * factor, note=note)

    def _usual_hardware(self, device: str) -> str:
        found = Counter(s.hardware for s in (*self.measured, *self.calibrated) if s.device == device)
        return found.most_common(1)[0][0] if found else ""


def _measured(manifest: Manifest) -> tuple[Shape, float, float | None] | None:
    """Return (shape, seconds per image, seconds outside the epochs) of a finished training.

    Returns:
        None if the training has no rate; the last element is None if it was resumed.
    """
    spec, outputs, run = manifest.typed(), manifest.outputs, manifest.run
    steps = int(outputs.get("steps") or 0)
    if not isinstance(spec, PretrainSpec) or run.seconds <= 0 or steps <= 0:
        return None
    # If it was resumed, this is the sum over its attempts.
    seconds = float(outputs.get("seconds") or run.seconds)
    shape = shape_of(spec.config, run.device, run.hardware, run.workers)
    per_image = seconds * run.workers / (spec.config.batch * steps)
    uninterrupted = outputs.get("seconds") is not None and run.seconds >= seconds
    return shape, per_image, run.seconds - seconds if uninterrupted else None


def _calibrated(known: Calibration, source: RateSource) -> Rate:
    return Rate(
        per_image_s=known.step_s / known.shape.batch,
        source=source,
        epoch_s=known.epoch_s,
        checkpoint_s=known.checkpoint_s,
    )


def _related(known: Shape, shape: Shape) -> bool:
    """Whether one can be scaled to the other: arithmetic is poor across encoders, useless across devices."""
    return (known.encoder, known.image_size, known.device) == (shape.encoder, shape.image_size, shape.device)


def _distance(known: Shape, shape: Shape) -> tuple[bool, bool, bool, float]:
    """Sort by hardware, then precision, then method, each equal before different; then by nearest batch."""
    ratio = max(known.batch, shape.batch) / max(1, min(known.batch, shape.batch))
    other = (known.hardware != shape.hardware, known.precision != shape.precision)
    return (*other, known.method != shape.method, ratio)


def _difference(known: Shape, shape: Shape) -> str:
    parts = [
        f"{name} {getattr(known, name)}"
        for name in ("hardware", "method", "batch", "precision")
        if getattr(known, name) != getattr(shape, name)
    ]
    return ", ".join(parts)


def _by_arithmetic(config: PretrainConfig, shape: Shape) -> float:
    """Return seconds per image by arithmetic, for the method and hardware of ``shape``."""
    return seconds_per_image(_with_method(config, shape.method), shape.device, shape.hardware)


def _with_method(config: PretrainConfig, method: str) -> PretrainConfig:
    if config.method == method:
        return config
    views2 = config.views2 if method == "byol" else None
    return replace(config, method=method, views2=views2)
