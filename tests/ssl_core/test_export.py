from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from safetensors.torch import load_file

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.encoders.given import load_weights
from ssl_sweep.ssl_core.export import export, timm_file
from ssl_sweep.ssl_core.training.encoder_files import export_encoder, load_encoder

CASES = [("resnet18", 32), ("resnet18", 96), ("resnet34", 32), ("resnet50", 96), ("vit-s", 16), ("vit-s", 96)]


def trained(folder, name, size):
    with torch_seed(0):
        encoder = build_encoder(name, size, zero_init_residual=False)
        encoder(torch.randn(4, 3, size, size))  # moves the running statistics
    export_encoder(encoder.eval(), default_config(name, size), folder, {"loss": 1.5})
    return encoder


def run(lines, path):
    """What a user pastes: only plain libraries."""
    assert not any("ssl_core" in line for line in lines)
    scope = {"path": str(path)}
    with torch.random.fork_rng(devices=[]):
        exec("\n".join(lines), scope)
    return scope["model"].eval()


@pytest.mark.parametrize(("name", "size"), CASES)
def test_plain_torchvision_gives_the_same_features(tmp_path, name, size):
    encoder = trained(tmp_path / "encoder", name, size)
    out = tmp_path / "out" / "encoder.safetensors"
    card = json.loads(export(tmp_path / "encoder", out).read_text())
    model = run(card["loading"]["torchvision"], out)
    assert type(model).__module__.startswith("torchvision.")
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        assert torch.equal(model(images), encoder(images))
    assert ("model.maxpool = torch.nn.Identity()" in card["loading"]["torchvision"]) == (
        name.startswith("resnet") and size <= 64
    )


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize(("name", "size"), CASES)
def test_plain_timm_gives_the_same_features(tmp_path, name, size):
    encoder = trained(tmp_path / "encoder", name, size)
    out = tmp_path / "encoder.safetensors"
    card = json.loads(export(tmp_path / "encoder", out).read_text())
    model = run(card["loading"]["timm"], out)
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(model(images), encoder(images), rtol=1e-4, atol=1e-4)


@pytest.mark.smoke
def test_card_is_the_trainings(tmp_path):
    trained(tmp_path, "resnet18", 32)
    card_path = export(tmp_path, tmp_path / "mine.safetensors")
    card = json.loads(card_path.read_text())
    assert card_path == tmp_path / "mine.json"
    assert (card["method"], card["training"], card["input"][:3]) == ("simclr", {"loss": 1.5}, "RGB")


def test_an_export_is_given_weights_again(tmp_path):
    encoder = trained(tmp_path / "encoder", "resnet18", 32)
    out = tmp_path / "out.safetensors"
    export(tmp_path / "encoder", out)
    config = default_config("resnet18", 32, method="weights", weights=str(out))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_weights(config).encoder(images), encoder(images))


def test_a_vit_is_written_for_timm_too(tmp_path):
    trained(tmp_path / "encoder", "vit-s", 16)
    export(tmp_path / "encoder", tmp_path / "x.safetensors")
    names = set(load_file(timm_file(tmp_path / "x.safetensors")))
    assert {"cls_token", "pos_embed", "blocks.11.attn.qkv.bias", "norm.weight"} <= names


def test_the_demo_encoder_is_in_no_library(tmp_path):
    trained(tmp_path / "encoder", "resnet-demo", 32)
    card = json.loads(export(tmp_path / "encoder", tmp_path / "x.safetensors").read_text())
    assert card["loading"] == {"torchvision": [], "timm": []}
    weights = load_encoder(tmp_path / "encoder").state_dict()
    assert set(load_file(tmp_path / "x.safetensors")) == set(weights)


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported encoder"):
        export(tmp_path, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"ending in \.safetensors"):
        export(tmp_path, tmp_path / "x.pt")
