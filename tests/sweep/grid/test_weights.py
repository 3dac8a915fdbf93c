"""Given weights are found, identified and compared with the encoder before anything runs, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_sweep.ssl_core.encoders.shapes import weight_shapes
from ssl_sweep.sweep.grid.weights import GivenWeights, check_fit, given_weights


def safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A file of weights without the weights: planning reads only the header."""
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pth.tar", ".bin", ".safetensors"])
def test_a_file_may_have_any_usual_suffix(tmp_path: Path, suffix: str) -> None:
    path = safetensors(tmp_path / f"w{suffix}", weight_shapes("resnet18", 96))
    given = given_weights(path.name, tmp_path)
    assert given.path == str(path.resolve()) and given.identity.startswith("sha256:")
    check_fit(given, "resnet18", 96)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "w.pt", {f"net.{k}": v for k, v in weight_shapes("resnet18", 96).items()})
    given = given_weights(str(path), tmp_path)
    check_fit(given, "resnet18", 224)
    for encoder, size, message in (
        (
            "resnet34",
            96,
            r"w\.pt, as weights of resnet34 at 96 px, does not fit under the prefix 'net\.': it lacks",
        ),
        ("resnet18", 32, r"conv1\.weight is \(64, 3, 7, 7\), the encoder has \(64, 3, 3, 3\)"),
        ("vit-s", 96, r"has no weight 'class_token', under any prefix"),
    ):
        with pytest.raises(ValueError, match=message):
            check_fit(given, encoder, size)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.ckpt").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"w\.ckpt is not a readable file of tensors"):
        check_fit(given_weights("w.ckpt", tmp_path), "resnet18", 96)


def test_published_weights_are_compared_by_their_name(tmp_path: Path) -> None:
    fits = [
        ("ResNet18_Weights.IMAGENET1K_V1", "resnet18", 224),
        ("ResNet50_Weights.IMAGENET1K_V2", "resnet50", 96),
        ("ViT_B_16_Weights.IMAGENET1K_V1", "vit-b", 224),
        ("ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", "vit-b", 384),
    ]
    for name, encoder, size in fits:
        check_fit(given_weights(name, tmp_path), encoder, size)
    misfits = [
        (
            "ResNet18_Weights.IMAGENET1K_V1",
            "resnet50",
            224,
            "has only 130 of its 318 weights.*; it fits resnet18$",
        ),
        ("ResNet18_Weights.IMAGENET1K_V1", "resnet18", 32, "on the same side of 64 px"),
        ("ViT_B_16_Weights.IMAGENET1K_V1", "vit-b", 384, "the image_size of their training"),
        (
            "ResNet101_Weights.IMAGENET1K_V1",
            "resnet50",
            224,
            "of an encoder that is not built in; use one of",
        ),
    ]
    for name, encoder, size, message in misfits:
        with pytest.raises(ValueError, match=message):
            check_fit(given_weights(name, tmp_path), encoder, size)


def test_weights_that_only_the_store_has_and_added_encoders_are_compared_later() -> None:
    check_fit(GivenWeights("sha256:0123456789abcdef", ""), "resnet18", 32)
    check_fit(GivenWeights("ResNet18_Weights.IMAGENET1K_V1", ""), "an-added-one", 32)


def test_no_torch_is_imported() -> None:
    code = "import ssl_sweep.sweep.grid.weights, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
