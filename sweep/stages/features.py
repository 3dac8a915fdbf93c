"""The stage ``features``: pass one split of a dataset through an encoder, once for all probes."""

from __future__ import annotations

import time

import numpy as np

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.pool import CorruptedImages
from ssl_sweep.ssl_core.config.registry import FEATURES, HEAD_OUTPUT
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import FeatureSpec
from ssl_sweep.sweep.stages.context import device_of
from ssl_sweep.sweep.stages.data import open_dataset
from ssl_sweep.sweep.stages.inputs import Inputs
from ssl_sweep.sweep.store.provenance import run_record
from ssl_sweep.sweep.util.files import whole


def extract(stage: PlannedStage, spec: FeatureSpec, inputs: Inputs) -> bool:
    """Write the features, float32 of shape (images, width), and commit them.

    Returns:
        False if another process committed the stage first.
    """
    from ssl_sweep.ssl_core.evaluation.features import extract_features
    from ssl_sweep.ssl_core.training.encoder_files import load_encoder, load_head

    started, runtime, store = time.time(), inputs.runtime, inputs.store
    data = open_dataset(runtime, store, spec.fingerprint)
    folder = store.path("features", stage.id)
    trained = store.fetch("pretrain", spec.encoder)
    encoder = load_encoder(trained)
    head = load_head(trained) if spec.representation == HEAD_OUTPUT else None
    layer = "" if spec.representation in (FEATURES, HEAD_OUTPUT) else spec.representation
    device = device_of(runtime)
    with whole(folder / "x.npy") as partial:
        images = CorruptedImages(
            data.images(spec.split),
            data.keys(spec.split),
            parse_corruption(spec.corruption),
            spec.corruption_seed,
        )
        shape = extract_features(encoder, images, partial, device=device, layer=layer, head=head)
    with whole(folder / "ids.npy") as partial, partial.open("wb") as file:
        np.save(file, data.ids(spec.split))
    record = run_record(started, gpu=device == "cuda")
    return store.commit("features", stage.id, spec, stage.upstream, {"shape": list(shape)}, record)
