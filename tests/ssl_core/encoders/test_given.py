from __future__ import annotations

import argparse
import hashlib
import io
import os
import pathlib
import zipfile
from collections import OrderedDict, defaultdict

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import nn
from training_case import Evil

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.encoders.given import _tensor, load_weights
from ssl_sweep.ssl_core.encoders.shapes import weight_shapes
from ssl_sweep.ssl_core.encoders.weight_files import storages, stored_tensors
from ssl_sweep.ssl_core.encoders.weight_names import fitting_names, from_timm, to_timm

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
    "_orig_mod.": lambda s: prefixed(s, "_orig_mod."),
    "module._orig_mod.": lambda s: prefixed(s, "module._orig_mod."),
    "_orig_mod in the middle": lambda s: {
        k.replace("blocks.1.", "blocks.1._orig_mod."): v for k, v in prefixed(s, "net.trunk.").items()
    },
    "teacher": lambda s: {"teacher": prefixed(s, "backbone."), "epoch": 3},
    "teacher beside its student": lambda s: {
        "student": {f"module.backbone.{k}": v + 1 for k, v in s.items()},
        "teacher": prefixed(s, "backbone.") | {"head.last_layer.weight": torch.ones(2)},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "a query encoder beside its slow copy": lambda s: {
        "state_dict": prefixed(s, "module.encoder_q.")
        | {f"module.encoder_k.{k}": v + 1 for k, v in s.items()}
        | {"module.queue": torch.ones(2)}
    },
    "paths and namespaces": lambda s: {
        "args": argparse.Namespace(data=pathlib.PurePosixPath("/data"), lr=0.1),
        "root": pathlib.Path("x"),
        "best": (1, [2.5, None, True], {"a"}, b"bytes"),
        "history": defaultdict(list, loss=[1.0]),
        "model": OrderedDict(s),
    },
    "in half precision": lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
    "parameters": lambda s: {
        k: nn.Parameter(v) if v.is_floating_point() else v for k, v in prefixed(s, "a.").items()
    },
    "old, without counts": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}


@pytest.fixture(scope="module")
def small():
    """The state dict of a small encoder, with a classifier."""
    with torch_seed(0):
        state = build_encoder("resnet-demo", 32).state_dict()
    return {**state, "fc.weight": torch.ones(3, 128)}


@pytest.mark.parametrize("name", ["w.pt", "w.ckpt", "w.pth.tar"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_state_dict_as_others_write_it(tmp_path, small, wrapping, name):
    """Row of faults: wrappers, suffixes, and other objects beside the tensors."""
    path, old = tmp_path / name, name == "w.pth.tar"
    torch.save(WRAPPINGS[wrapping](small), path, _use_new_zipfile_serialization=not old)
    given = load_weights(config_of(path, "resnet-demo", 32))
    assert not given.encoder.training and given.source == str(path) and given.trained_on == ""
    assert given.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for key, tensor in given.encoder.state_dict().items():
        expected = small[key]
        if wrapping == "in half precision" and tensor.is_floating_point():
            expected = expected.half().float()
        assert torch.equal(tensor, expected), key


def test_the_features_are_those_of_the_given_weights(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "w.pt")
    with torch.no_grad():
        assert torch.equal(load_weights(config_of(tmp_path / "w.pt")).encoder(IMAGES), features_of(model))


@pytest.mark.parametrize("old", [False, True])
def test_a_whole_module_is_read_without_its_code(tmp_path, model, old):
    torch.save({"net": model}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    given = load_weights(config_of(tmp_path / "w.pt")).encoder.state_dict()
    assert all(
        torch.equal(given[name], tensor) for name, tensor in model.state_dict().items() if name in given
    )


def test_what_torch_reads_is_what_we_read(tmp_path):
    """Views of one storage, transposed ones, empty ones, and every type of element."""
    base = torch.arange(24.0)
    tensors = {
        "whole": base,
        "part": base[4:10],
        "turned": base.reshape(4, 6).t(),
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        **{
            str(kind): torch.ones(3).to(kind)
            for kind in (torch.int8, torch.uint8, torch.bool, torch.bfloat16)
        },
    }
    for old in (False, True):
        torch.save(tensors, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
        stored = stored_tensors(tmp_path / "w.pt")
        assert {name: (one.shape, one.stride) for name, one in stored.items()} == {
            name: (tuple(tensor.shape), tensor.stride()) for name, tensor in tensors.items()
        }
        content = dict(storages(tmp_path / "w.pt", {one.storage for one in stored.values()}))
        for name, tensor in tensors.items():
            read = _tensor(tmp_path / "w.pt", name, stored[name], content)
            assert read.dtype == tensor.dtype and torch.equal(read, tensor), name


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("name", ENCODERS)
def test_the_shapes_that_planning_knows_are_those_of_the_encoder(name, size):
    with torch.device("meta"):
        encoder = build_encoder(name, size)
    expected = {key: tuple(tensor.shape) for key, tensor in encoder.state_dict().items()}
    assert list(weight_shapes(name, size).items()) == list(expected.items())


def test_two_encoders_that_could_both_be_meant_are_named(tmp_path, model):
    state = dict(model.state_dict())
    torch.save({"model": state, "model_ema": {k: v + 1 for k, v in state.items()}}, tmp_path / "w.pt")
    told = r"this encoder 2 times, under 'model\.', 'model_ema\.'; choose one, strip its prefix"
    with pytest.raises(ValueError, match=told):
        load_weights(config_of(tmp_path / "w.pt"))


def test_names_of_another_library_are_named(tmp_path, model):
    torch.save({f"{i}.weight": torch.ones(2) for i in range(3)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"no weight 'conv1\.weight', under any prefix; .* 0\.weight, 1\.w"):
        load_weights(config_of(tmp_path / "w.pt"))
    bad = prefixed(dict(model.state_dict()), "a.b.")
    bad["a.b.layer1.0.conv1.weight"] = torch.ones(2)
    torch.save(bad, tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match=r"does not fit under the prefix 'a\.b\.': layer1\.0\.conv1\.weight has"
    ):
        load_weights(config_of(tmp_path / "w.pt"))


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


@pytest.mark.parametrize("old", [False, True])
def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch, model, old):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Evil()}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match="has no tensors"):
        load_weights(config_of(tmp_path / "w.pt"))
    torch.save({"x": Evil(), **model.state_dict()}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
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


@pytest.mark.parametrize("content", [{"epoch": 1}, [1, 2], None])
def test_a_file_without_tensors(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt has no tensors; save model\.state_dict"):
        load_weights(config_of(tmp_path / "w.pt"))


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_broken_files(tmp_path, model, name):
    def refused(content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_weights(config_of(tmp_path / name))

    write = save_file if name.endswith("safetensors") else torch.save
    write(dict(model.state_dict()), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    refused(b"broken", "is not a readable file of tensors")
    refused(b"", "is not a readable file of tensors")
    refused(b"\xff" * 7 + b"\0{broken", "is not a readable safetensors file")
    refused(whole[: len(whole) // 2], "is not a readable file of tensors|is damaged or cut short")
    torch.save(dict(model.state_dict()), tmp_path / "old", _use_new_zipfile_serialization=False)
    old = (tmp_path / "old").read_bytes()
    refused(old[: len(old) // 2], "is damaged or cut short")


def test_archives_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="is an archive of something else"):
        load_weights(config_of(tmp_path / "w.pt"))
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("a/data.pkl", "a")
        archive.writestr("a/constants.pkl", "a")
    with pytest.raises(ValueError, match=r"is a TorchScript program; save model\.state_dict"):
        load_weights(config_of(tmp_path / "w.pt"))


def test_a_compressed_archive_is_refused(tmp_path, small):
    torch.save(small, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as old, zipfile.ZipFile(tmp_path / "x.pt", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match=r"x\.pt is compressed; save it again"):
        load_weights(config_of(tmp_path / "x.pt", "resnet-demo", 32))


def some_files() -> list[bytes]:
    files = []
    for old in (False, True):
        file = io.BytesIO()
        content = {"a": torch.ones(2, 3), "b": [nn.Parameter(torch.ones(2))], "c": argparse.Namespace(d=1)}
        torch.save(content, file, _use_new_zipfile_serialization=not old)
        files.append(file.getvalue())
    return [*files, save({"a": torch.ones(2)})]


FILES = some_files()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FILES), st.integers(0, 2**16), st.binary(max_size=8), st.booleans())
def test_any_bytes_are_tensors_or_a_message(tmp_path, file, at, change, cut):
    at %= len(file)
    (tmp_path / "w.pt").write_bytes(file[:at] + change + (b"" if cut else file[at + len(change) :]))
    try:
        found = stored_tensors(tmp_path / "w.pt")
        dict(storages(tmp_path / "w.pt", {one.storage for one in found.values() if one.storage}))
    except ValueError as error:
        assert str(error).startswith("weights: ") and "w.pt " in str(error)
    else:
        assert all(isinstance(one.shape, tuple) for one in found.values())


def test_a_larger_encoder_is_not_mistaken_for_a_smaller_one():
    """All names and shapes of a ResNet-18 are in a ResNet-34, too."""
    with pytest.raises(ValueError, match=r"it also has layer1\.2\.conv1\.weight"):
        fitting_names(weight_shapes("resnet34", 96), weight_shapes("resnet18", 96))
