"""What the stages of a plan take on disk, in bytes, including the tracker inside the store."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_sweep.ssl_core.config.plugins import encoder_info
from ssl_sweep.ssl_core.config.registry import UNTRAINED
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.spec.specs import FeatureSpec, FinetuneSpec, PretrainSpec, ProbeSpec

# Bytes in addition to pixels, weights and features, measured in small sweeps: id, key and labels of an image;
# contact sheet of a training, per pixel of an image's area; manifest, card and log of a stage; predictions;
# database of the tracker.
_IMAGE, _FEATURE_ID = 80, 128
_SHEET, _RECORDS = 75, 9_000
_PREDICTION, _PREDICTIONS = 24, 5_000
_TRACKER, _TRACKED = 750_000, 26_000


def disk_bytes(plan: Plan) -> int:
    """Return the bytes that the run adds. A finished training keeps only its encoder."""
    return sum(_bytes(plan))


def _bytes(plan: Plan) -> Iterator[int]:
    """Images are uint8, weights and features float32. The tracker has a copy of every trained encoder."""
    infos = {info.prepare_id: info for cell in plan.cells for info in cell.datasets}
    sizes = {info.fingerprint: (info.n_train, info.n_test) for info in infos.values()}
    tested = {cell.probe_id: cell.evaluation.n_test for cell in plan.cells}
    configs = {s.id: s.spec.config for s in plan.stages if isinstance(s.spec, PretrainSpec)}
    waiting = {stage.id for stage in plan.to_run}
    tracked = sum(cell.probe_id in waiting for cell in plan.cells)
    for stage in plan.to_run:
        match stage.spec:
            case PretrainSpec(config=config):
                shape = encoder_info(config.encoder)
                encoder = int(4e6 * shape.parameters)
                sheet = _SHEET * config.image_size**2
                width = shape.feature_dim
                head = 4 * width * (width + config.head_dim) if config.head_layers else 0
                images = sum(part.images for part in stage.spec.parts)
                if config.method in UNTRAINED:
                    yield encoder + _RECORDS
                else:
                    tracked += 1
                    yield 2 * (encoder + sheet) + head + 40 * images + _RECORDS
            case FeatureSpec(encoder=encoder_id, fingerprint=fingerprint, split=split):
                count = sizes[fingerprint][0 if split == "train" else 1]
                yield count * (4 * encoder_info(configs[encoder_id].encoder).feature_dim + _FEATURE_ID)
            case ProbeSpec() | FinetuneSpec():
                yield tested[stage.id] * _PREDICTION + _PREDICTIONS
            case _:
                info = infos[stage.id]
                yield (info.n_train + info.n_test) * (3 * info.size**2 + _IMAGE)
    if tracked:
        yield _TRACKER + _TRACKED * tracked
