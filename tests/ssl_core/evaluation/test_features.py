from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from training_case import blobs

from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.encoders.random import random_encoder
from ssl_sweep.ssl_core.evaluation.features import extract_features
from ssl_sweep.ssl_core.methods.build import build_method
from ssl_sweep.ssl_core.training.encoder_files import export_encoder, load_encoder, load_head


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return blobs(70, size=32).images


@pytest.fixture(scope="module")
def encoder(images):
    return random_encoder(default_config("resnet-demo", 32), images)


def test_features_do_not_depend_on_the_batch(encoder, images, tmp_path):
    """Trap 22; a training-mode batch norm or a dropped last batch would show."""
    encoder.train()
    assert extract_features(encoder, images, tmp_path / "one.npy", batch_size=1) == (70, 128)
    assert extract_features(encoder, images, tmp_path / "many.npy", batch_size=256) == (70, 128)
    assert extract_features(encoder, images, tmp_path / "odd.npy", batch_size=32) == (70, 128)
    one, many, odd = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("one", "many", "odd"))
    assert many.dtype == np.float32
    np.testing.assert_allclose(one, many, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(odd, many, rtol=1e-5, atol=1e-5)
    assert np.linalg.norm(many[0] - many[1]) > 0.01
    with torch.no_grad():
        direct = encoder(pixels_to_input(images[3:4]))[0].numpy()
    np.testing.assert_allclose(many[3], direct, rtol=1e-4, atol=1e-5)


def test_features_of_a_layer(encoder, images, tmp_path):
    assert extract_features(encoder, images, tmp_path / "x.npy", layer="blocks.1", batch_size=32) == (70, 32)
    with torch.no_grad():
        direct = encoder.stages(pixels_to_input(images), ("blocks.1",))["blocks.1"].numpy()
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), direct, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="layer is 'conv9'"):
        extract_features(encoder, images, tmp_path / "y.npy", layer="conv9")
    assert not (tmp_path / "y.npy").exists()


def test_statistics_do_not_move(encoder, images, tmp_path):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    extract_features(encoder, images, tmp_path / "x.npy")
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_no_images(encoder, tmp_path):
    with pytest.raises(ValueError, match="no images"):
        extract_features(encoder, np.zeros((0, 32, 32, 3), np.uint8), tmp_path / "x.npy")


def test_random_encoder_is_standard_weights_with_the_images_statistics(images):
    encoder = random_encoder(default_config("resnet-demo", 32, seed=4), images)
    first = encoder.stem[1]
    with torch.no_grad():
        maps = encoder.stem[0](pixels_to_input(images))
    torch.testing.assert_close(first.running_mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, maps.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert not encoder.training
    for norm in (m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)):
        assert norm.momentum == 0.1 and torch.equal(norm.weight, torch.ones_like(norm.weight))


def test_random_encoder_averages_over_batches(images, monkeypatch):
    """Near-equal batches with equal weight: the mean is that of all images, whatever the batch."""
    config = default_config("resnet-demo", 32)
    monkeypatch.setattr("ssl_sweep.ssl_core.encoders.random._BATCH", 35)
    halves = random_encoder(config, images)
    monkeypatch.undo()
    whole = random_encoder(config, images)
    torch.testing.assert_close(halves.stem[1].running_mean, whole.stem[1].running_mean, rtol=1e-4, atol=1e-5)
    assert torch.equal(halves.stem[0].weight, whole.stem[0].weight)


def test_random_encoder_follows_its_seed_only(images):
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    a, b, c = (random_encoder(default_config("resnet-demo", 32, seed=s), images) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert not torch.equal(a.stem[0].weight, c.stem[0].weight)


def test_random_encoder_survives_its_export(encoder, images, tmp_path):
    export_encoder(encoder, default_config("resnet-demo", 32, method="random"), tmp_path)
    extract_features(encoder, images, tmp_path / "a.npy")
    extract_features(load_encoder(tmp_path), images, tmp_path / "b.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


@pytest.mark.parametrize("method", ["simclr", "moco-v2", "byol"])
def test_features_after_the_head_are_those_the_loss_compared(method, images, tmp_path):
    config = default_config("resnet-demo", 32, method=method, batch=8, head_layers=3)
    model = build_method(config, n_images=64)
    model(
        tuple(pixels_to_input(images[start : start + 8]) for start in (0, 8)), None
    )  # moves batch statistics
    export_encoder(model.encoder, config, tmp_path, head=model.projection())
    head = load_head(tmp_path)
    extract_features(load_encoder(tmp_path), images, tmp_path / "g.npy", head=head, batch_size=32)
    model.eval()
    with torch.no_grad():
        direct = model.projection()(model.encoder(pixels_to_input(images))).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "g.npy"), direct, rtol=1e-4, atol=1e-5)
    (tmp_path / "head.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no projection head"):
        load_head(tmp_path)
