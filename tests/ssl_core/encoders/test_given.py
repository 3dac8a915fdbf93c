from __future__ import annotations

import hashlib
import os

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from training_case import Evil

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.encoders.given import load_weights
from ssl_sweep.ssl_core.encoders.weight_names import from_timm, plain_names, to_timm

IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def config_of(weights, encoder="resnet18", size=96):
    return default_config(encoder, size, method="weights", weights=str(weights))


@pytest.fixture(scope="module")
def model():
    with torch_seed(0):
        model = torchvision.models.resnet18(weights=None)
    model(IMAGES)  # moves the running statistics
    return model.eval()


def features_of(model) -> torch.Tensor:
    fc, model.fc = model.fc, nn.Identity()
    with torch.no_grad():
        features = model(IMAGES)
    model.fc = fc
    return features


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS = {
    "plain": lambda s: s,
    "without the classifier": lambda s: {k: v for k, v in s.items() if not k.startswith("fc.")},
    "module.": lambda s: prefixed(s, "module."),
    "backbone.": lambda s: prefixed(s, "backbone."),
    "module.encoder. beside a head": lambda s: (
        prefixed(s, "module.encoder.") | {"module.head.0.weight": torch.ones(2)}
    ),
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": prefixed(s, "encoder.")},
    "old, without counts": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_state_dict_as_others_write_it(tmp_path, model, wrapping):
    torch.save(WRAPPINGS[wrapping](dict(model.state_dict())), tmp_path / "w.pt")
    given = load_weights(config_of(tmp_path / "w.pt"))
    with torch.no_grad():
        assert torch.equal(given.encoder(IMAGES), features_of(model))
    assert not given.encoder.training and given.source == str(tmp_path / "w.pt") and given.trained_on == ""
    assert given.sha256 == hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()


def test_safetensors(tmp_path, model):
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    state = torch.random.get_rng_state()
    given = load_weights(config_of(tmp_path / "w.safetensors"))
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        assert torch.equal(given.encoder(IMAGES), features_of(model))


def test_torchvisions_named_weights_from_the_hub_folder(tmp_path, model, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    name = "ResNet18_Weights.IMAGENET1K_V1"
    with pytest.raises(
        ValueError, match=r"not on this machine.*fetch https://download.*resnet18-f37072fd.pth to"
    ):
        load_weights(config_of(name))
    torch.save(model.state_dict(), tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    with pytest.raises(ValueError, match="is damaged"):
        load_weights(config_of(name))
    monkeypatch.setattr("ssl_sweep.ssl_core.encoders.given._sha256", lambda path: "f37072fd" + "0" * 56)
    given = load_weights(config_of(name))
    assert given.trained_on == "(x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]"


def test_a_file_may_be_named_like_a_hash(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "resnet18-20260101.pth")
    load_weights(config_of(tmp_path / "resnet18-20260101.pth"))


@pytest.mark.parametrize("name", ["vit-s", pytest.param("vit-b", marks=pytest.mark.exhaustive)])
def test_vit_in_either_style(tmp_path, name):
    with torch_seed(0):
        encoder = build_encoder(name, 16).eval()
    weights = encoder.state_dict()
    timm = {to_timm(k): v for k, v in weights.items()} | {"head.weight": torch.ones(5, 4)}
    expected = {
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "norm.weight",
        "norm.bias",
        "head.weight",
    } | {
        f"blocks.{i}.{part}.{kind}"
        for i in range(12)
        for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    assert set(timm) == expected  # as in timm's VisionTransformer
    assert {from_timm(to_timm(k)) for k in weights} == set(weights)
    images = torch.randn(2, 3, 16, 16)
    for style in (weights, timm, prefixed(weights, "encoder."), prefixed(timm, "module.")):
        torch.save(style, tmp_path / "w.pt")
        with torch.no_grad():
            assert torch.equal(
                load_weights(config_of(tmp_path / "w.pt", name, 16)).encoder(images), encoder(images)
            )


def test_names_of_a_momentum_encoders_checkpoint(model):
    state = prefixed(dict(model.state_dict()), "module.encoder_q.")
    keys = prefixed(dict(model.state_dict()), "module.encoder_k.")
    named = plain_names(state | keys | {"module.queue": torch.ones(2)})
    assert set(named) == {k for k in model.state_dict() if not k.startswith("fc.")}


@pytest.mark.parametrize(
    ("change", "encoder", "size", "message"),
    [
        ({"bn1.bias": None}, "resnet18", 96, r"lacks bn1\.bias; use the encoder"),
        ({"extra.weight": torch.ones(1)}, "resnet18", 96, r"also has extra\.weight;"),
        ({}, "resnet34", 96, r"lacks layer1\.2\.conv1\.weight, .* and \d+ more"),
        ({}, "resnet18", 32, r"conv1\.weight is \(64, 3, 7, 7\), the encoder has \(64, 3, 3, 3\).*64 px"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, model, change, encoder, size, message):
    state = {k: v for k, v in (dict(model.state_dict()) | change).items() if v is not None}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=message):
        load_weights(config_of(tmp_path / "w.pt", encoder, size))


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Evil()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="not a readable file of tensors"):
        load_weights(config_of(tmp_path / "w.pt"))
    assert not os.path.exists("executed")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("", "weights is empty"),
        ("nothing.pt", "nothing.pt does not exist"),
        ("ResNet18", "which torchvision does not have"),
        ("ResNet18_Weights.V9", "which torchvision does not have"),
    ],
)
def test_what_is_not_there(weights, message):
    with pytest.raises(ValueError, match=message):
        load_weights(config_of(weights))


@pytest.mark.parametrize(("name", "content"), [("w.pt", {"epoch": 1}), ("w.pt", [1, 2])])
def test_a_file_without_a_state_dict(tmp_path, name, content):
    torch.save(content, tmp_path / name)
    with pytest.raises(ValueError, match="has no state dict"):
        load_weights(config_of(tmp_path / name))


def test_a_broken_safetensors_file(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="not a readable safetensors"):
        load_weights(config_of(tmp_path / "w.safetensors"))
