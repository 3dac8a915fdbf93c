"""What a plan will take: seconds and bytes, each with its source.

Measured rates come from finished trainings in the store on the same encoder, image size and device; without
any, from arithmetic per image over a guessed speed of the device, marked "default guess".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from ssl_core.config import PretrainConfig
from sweep.plan import Node, Plan
from sweep.specs import UNTRAINED, FeatureSpec, FinetuneSpec, PretrainSpec, ProbeSpec
from sweep.store import Store

RateSource = Literal["measured", "default guess"]
Shape = tuple[str, str, int, str]
"""(method, encoder, image size in pixels, device)"""

# Multiply-adds of one forward pass in billions at (small-image stem, 32 px) and (ImageNet stem, 224 px),
# parameters in millions, feature width.
_ENCODERS: Mapping[str, tuple[float, float, float, int]] = {
    "resnet-demo": (0.0033, 0.16, 0.31, 128),
    "resnet18": (0.56, 1.8, 11.2, 512),
    "resnet34": (1.16, 3.7, 21.3, 512),
    "resnet50": (1.30, 4.1, 23.5, 2048),
    "resnet50-2x": (5.1, 16.0, 93.9, 4096),
    "resnet50-4x": (20.4, 64.0, 375.0, 8192),
    "vit-s": (1.4, 4.6, 21.7, 384),
    "vit-b": (5.6, 17.6, 85.8, 768),
}
# Billions of multiply-adds a second that a training reaches: one CPU core, one data-centre GPU.
_SPEED = {"cpu": 30.0, "gpu": 20_000.0}
_PASSES = 6  # two views; forward once, backward twice
# Time of a method's step against SimCLR's on the same images, measured with the demo encoder on a CPU.
_EFFORT = {"moco-v2": 0.9, "byol": 1.4, "rotation": 1.5, "jigsaw": 1.2, "inpainting": 2.0, "supervised": 0.45}
_PROBE_S = 0.3
_PREPARE_IMAGES_PER_S = 2_000.0


@dataclass(frozen=True)
class Rates:
    """Seconds per pretraining image (both views, one optimiser step's share) by shape."""

    measured: Mapping[Shape, float]

    @classmethod
    def of(cls, store: Store) -> Rates:
        """Rates of the finished trainings of a store: the median of each shape."""
        seen: dict[Shape, list[float]] = {}
        with store.survey():
            manifests = list(store.manifests("pretrain"))
        for manifest in manifests:
            config = manifest.spec.get("config", {})
            if config.get("method") in UNTRAINED or manifest.run.seconds <= 0:
                continue
            work = config["batch"] * int(manifest.outputs["steps"]) if "steps" in manifest.outputs else 0
            if work <= 0:
                continue
            shape = (config["method"], config["encoder"], config["image_size"], manifest.run.device)
            # What it took over all its legs, if it was resumed, and on all its workers.
            seconds = float(str(manifest.outputs.get("seconds") or manifest.run.seconds))
            seen.setdefault(shape, []).append(seconds * manifest.run.workers / work)
        return cls({shape: median(values) for shape, values in seen.items()})

    def per_image(self, config: PretrainConfig, device: str) -> tuple[float, RateSource]:
        """Seconds per image and the figure's source: this method's rate, or another one's in proportion."""
        effort = _EFFORT.get(config.method, 1.0)
        place = (config.encoder, config.image_size, device)
        found = self.measured.get((config.method, *place))
        if found is not None:
            return found, "measured"
        for shape, other in self.measured.items():
            if shape[1:] == place:
                return other * effort / _EFFORT.get(shape[0], 1.0), "measured"
        guess = _PASSES * _multiply_adds(config.encoder, config.image_size) / _SPEED[device]
        return guess * effort, "default guess"

    def training(self, node: Node, device: str = "cpu") -> tuple[float, RateSource]:
        """Seconds of one training."""
        assert isinstance(node.spec, PretrainSpec)
        rate, source = self.per_image(node.spec.config, device)
        return rate * images_seen(node.spec), source


def images_seen(spec: PretrainSpec) -> int:
    """Images (not views) that a training goes through, over all epochs or steps."""
    config = spec.config
    return max(1, config.batch * config.total_steps(sum(part.images for part in spec.parts)))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Totals over what is to run; `alone_s` is the training time if every cell trained its own encoder."""

    training_s: float
    other_s: float
    alone_s: float
    shared_s: float
    trainings: int
    measured: int
    guessed: int
    disk_bytes: int
    device: str

    def lines(self) -> Iterator[str]:
        """Sentences for the end of `ssl-sweep plan`."""
        source = f"rates: {self.measured} trainings measured, {self.guessed} default guess"
        if self.measured + self.guessed:
            yield f"compute: trainings {_hours(self.training_s)} on one {self.device} ({source})"
        if self.other_s:
            yield f"         preparing, features and evaluations {_hours(self.other_s)} (default guess)"
        if self.shared_s and self.alone_s > self.shared_s:
            factor = self.alone_s / self.shared_s
            yield (
                f"sharing: {self.trainings:,} trainings serve every cell: {_hours(self.shared_s)};"
                f" one for each would take {_hours(self.alone_s)} ({factor:.1f}x more)"
            )
        if self.disk_bytes:
            yield f"disk: {_bytes(self.disk_bytes)} more"


def estimate(plan: Plan, store: Store) -> Estimate:
    """What the stages of `plan` that are to run will take on one device, and what sharing saves."""
    device = plan.device
    rates = Rates.of(store)
    training = {node.id: rates.training(node, device) for node in plan.pretrainings}
    waiting = [node for node in plan.to_run if node.trains]
    sources = [training[node.id][1] for node in waiting]
    alone = [p for cell in plan.cells for p in cell.encoders if p.trained]
    return Estimate(
        training_s=sum(training[node.id][0] for node in waiting),
        other_s=sum(_other_seconds(plan, rates, device)),
        alone_s=sum(training[pretraining.id][0] for pretraining in alone),
        shared_s=sum(seconds for seconds, _ in training.values()),
        trainings=len(training),
        measured=sources.count("measured"),
        guessed=sources.count("default guess"),
        disk_bytes=sum(_disk(plan)),
        device=device,
    )


def _multiply_adds(encoder: str, size: int) -> float:
    small, large, _, _ = _ENCODERS.get(encoder, _ENCODERS["resnet50"])
    return small * (size / 32) ** 2 if size <= 64 else large * (size / 224) ** 2


def _sizes(plan: Plan) -> dict[str, tuple[int, int, int]]:
    """Fingerprint → (training images, test images, side in pixels)."""
    sizes = {}
    for cell in plan.cells:
        for info in cell.datasets:
            sizes[info.fingerprint] = (info.n_train, info.n_test, info.size)
    return sizes


def _encoder_configs(plan: Plan) -> dict[str, PretrainConfig]:
    return {n.id: n.spec.config for n in plan.nodes if isinstance(n.spec, PretrainSpec)}


def _other_seconds(plan: Plan, rates: Rates, device: str) -> Iterable[float]:
    sizes, configs = _sizes(plan), _encoder_configs(plan)
    for node in plan.to_run:
        match node.spec:
            case FeatureSpec(encoder=encoder, fingerprint=fingerprint, split=split):
                images = sizes[fingerprint][0 if split == "train" else 1]
                yield images * rates.per_image(configs[encoder], device)[0] / _PASSES
            case ProbeSpec():
                yield _PROBE_S
            case FinetuneSpec(encoder=encoder, n_labels=labels, config=finetuning):
                # One view and half a pretraining's passes; three rates on the folds, then the final fit.
                folds = finetuning.folds if labels < finetuning.holdout_from else 1
                images = finetuning.total_steps(labels) * finetuning.batches(labels)[0] * (1 + 3 * folds)
                yield images * rates.per_image(configs[encoder], device)[0] / 2
    prepares = {node.id for node in plan.prepares}
    infos = {i.prepare_id: i for c in plan.cells for i in c.datasets}
    for id in prepares:
        yield (infos[id].n_train + infos[id].n_test) / _PREPARE_IMAGES_PER_S


def _disk(plan: Plan) -> Iterable[int]:
    """Bytes of each stage that is to run: images as uint8, weights and features as float32."""
    sizes, configs = _sizes(plan), _encoder_configs(plan)
    tested = {cell.probe_id: cell.evaluation.n_test for cell in plan.cells}
    infos = {i.prepare_id: i for c in plan.cells for i in c.datasets}
    for node in plan.to_run:
        match node.spec:
            case PretrainSpec(config=config):
                parameters = _ENCODERS.get(config.encoder, _ENCODERS["resnet50"])[2] * 1e6
                copies = 1 if config.method == "random" else 3  # the encoder; a checkpoint with its momentum
                yield int(4 * parameters * copies)
            case FeatureSpec(encoder=encoder, fingerprint=fingerprint, split=split):
                width = _ENCODERS.get(configs[encoder].encoder, _ENCODERS["resnet50"])[3]
                yield sizes[fingerprint][0 if split == "train" else 1] * (4 * width + 140)
            case ProbeSpec() | FinetuneSpec():
                yield tested[node.id] * 40 + 2_000
            case _:
                info = infos[node.id]
                yield (info.n_train + info.n_test) * (3 * info.size**2 + 160)


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
