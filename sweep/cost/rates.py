"""How long trainings take: rates by shape, each with where it comes from.

A rate is seconds of one device (a GPU, or a CPU core) for one pretraining image, all its views. It is looked
for in this order:

    measured       finished trainings of this very shape, on the same hardware
    calibrated     `ssl-sweep calibrate` on the same hardware
    scaled         either of them for another method, batch, precision or hardware, by arithmetic
    default guess  arithmetic alone
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.sweep.cost.arithmetic import seconds_per_image
from ssl_sweep.sweep.cost.calibration import Calibration, Shape, calibrations, shape_of
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.spec.specs import UNTRAINED, PretrainSpec
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store

RateSource = Literal["measured", "calibrated", "scaled", "default guess"]
SOURCES: tuple[RateSource, ...] = ("measured", "calibrated", "scaled", "default guess")


def images_seen(spec: PretrainSpec) -> int:
    """Images (not views) that a training goes through, over all epochs or steps."""
    config = spec.config
    return max(1, config.batch * config.total_steps(sum(part.images for part in spec.parts)))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds of one device an image, `epoch_s` at the end of each epoch, `checkpoint_s` for each checkpoint
    (both 0 where they are in the first). `note` says what a scaled rate was scaled from."""

    per_image_s: float
    source: RateSource
    note: str = ""
    epoch_s: float = 0.0
    checkpoint_s: float = 0.0


@dataclass(frozen=True)
class Rates:
    """`measured` in seconds an image by shape; `overheads`: what trainings took beyond their epochs, by
    (device, hardware), in seconds."""

    measured: Mapping[Shape, float] = field(default_factory=dict)
    calibrated: Mapping[Shape, Calibration] = field(default_factory=dict)
    overheads: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store) -> Rates:
        """What the finished trainings and the calibrations of a store say: the median of each shape."""
        return cls.read(store.manifests("pretrain"), calibrations(store.storage))

    @classmethod
    def read(cls, trainings: Iterable[Manifest], calibrated: Mapping[Shape, Calibration]) -> Rates:
        """As `of`, from what was read already."""
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
        """The rate of a training of `config` on `workers` devices of `machine`; where nobody knows its
        hardware, of the one that most rates are of."""
        hardware = machine.hardware or self._usual_hardware(machine.device)
        shape = shape_of(config, machine.device, hardware, workers)
        if (measured := self.measured.get(shape)) is not None:
            return Rate(per_image_s=measured, source="measured")
        if (known := self.calibrated.get(shape)) is not None:
            return _calibrated(known, "calibrated")
        candidates = [s for s in (*self.measured, *self.calibrated) if _related(s, shape)]
        if not candidates:
            guess = seconds_per_image(config, machine.device, hardware)
            return Rate(per_image_s=guess, source="default guess")
        near = min(candidates, key=lambda s: _distance(s, shape))
        factor = _guess(config, shape) / _guess(config, near)
        note = f"from {_difference(near, shape)}"
        if near in self.measured:
            return Rate(per_image_s=self.measured[near] * factor, source="scaled", note=note)
        scaled = _calibrated(self.calibrated[near], "scaled")
        return replace(scaled, per_image_s=scaled.per_image_s * factor, note=note)

    def _usual_hardware(self, device: str) -> str:
        found = Counter(s.hardware for s in (*self.measured, *self.calibrated) if s.device == device)
        return found.most_common(1)[0][0] if found else ""


def _measured(manifest: Manifest) -> tuple[Shape, float, float | None] | None:
    """(shape, seconds an image, seconds beyond the epochs) of a finished training; None where it has none."""
    config, outputs, run = manifest.spec.get("config", {}), manifest.outputs, manifest.run
    steps = int(outputs.get("steps") or 0)
    if config.get("method") in UNTRAINED or run.seconds <= 0 or steps <= 0:
        return None
    # What it took over all its legs, if it was resumed, and on all its workers.
    seconds = float(outputs.get("seconds") or run.seconds)
    shape = _shape(config, run.device, run.hardware, run.workers)
    per_image = seconds * run.workers / (int(config["batch"]) * steps)
    straight = outputs.get("seconds") is not None and run.seconds >= seconds
    return shape, per_image, run.seconds - seconds if straight else None


def _shape(config: Mapping[str, Any], device: str, hardware: str, workers: int) -> Shape:
    return Shape(
        method=str(config["method"]),
        encoder=str(config["encoder"]),
        image_size=int(config["image_size"]),
        batch=int(config["batch"]) // max(1, workers),
        precision=str(config.get("precision", "float32")),
        device=device,
        hardware=hardware,
    )


def _calibrated(known: Calibration, source: RateSource) -> Rate:
    return Rate(
        per_image_s=known.step_s / known.shape.batch,
        source=source,
        epoch_s=known.epoch_s,
        checkpoint_s=known.checkpoint_s,
    )


def _related(known: Shape, shape: Shape) -> bool:
    """Near enough to scale: arithmetic is worth little across encoders, and nothing from CPUs to GPUs."""
    return (known.encoder, known.image_size, known.device) == (shape.encoder, shape.image_size, shape.device)


def _distance(known: Shape, shape: Shape) -> tuple[bool, bool, bool, float]:
    """The same hardware before the same precision before the same method; then the nearest batch."""
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


def _guess(config: PretrainConfig, shape: Shape) -> float:
    """By arithmetic, the method and hardware of `shape`; a config's other fields play no part in it."""
    return seconds_per_image(_with_method(config, shape.method), shape.device, shape.hardware)


def _with_method(config: PretrainConfig, method: str) -> PretrainConfig:
    if config.method == method:
        return config
    views2 = config.views2 if method == "byol" else None
    return replace(config, method=method, views2=views2)
