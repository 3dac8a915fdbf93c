"""What the stages of a plan will take on disk, in bytes."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_core.config import PretrainConfig
from sweep.guess import arithmetic
from sweep.plan import Plan
from sweep.specs import FeatureSpec, FinetuneSpec, PretrainSpec, ProbeSpec


def disk_bytes(plan: Plan) -> int:
    """Of everything that is to run, once it has run: a finished training keeps its encoder alone."""
    return sum(_bytes(plan))


def _bytes(plan: Plan) -> Iterator[int]:
    """Images as uint8, weights and features as float32."""
    infos = {i.prepare_id: i for c in plan.cells for i in c.datasets}
    sizes = {i.fingerprint: (i.n_train, i.n_test) for i in infos.values()}
    tested = {cell.probe_id: cell.evaluation.n_test for cell in plan.cells}
    configs = {n.id: n.spec.config for n in plan.nodes if isinstance(n.spec, PretrainSpec)}
    for node in plan.to_run:
        match node.spec:
            case PretrainSpec(config=config):
                yield _encoder(config, sum(part.images for part in node.spec.parts))
            case FeatureSpec(encoder=encoder, fingerprint=fingerprint, split=split):
                images = sizes[fingerprint][0 if split == "train" else 1]
                yield images * (4 * arithmetic(configs[encoder].encoder).width + 40)
            case ProbeSpec() | FinetuneSpec():
                yield tested[node.id] * 40 + 2_000
            case _:
                info = infos[node.id]
                yield (info.n_train + info.n_test) * (3 * info.size**2 + 160)


def _encoder(config: PretrainConfig, images: int) -> int:
    return int(4e6 * arithmetic(config.encoder).parameters)
