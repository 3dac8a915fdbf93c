"""Weights that do not fit and sizes that an encoder cannot take are problems of the grid, at their lines."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch
from expansion import CATALOG, info

from ssl_sweep.ssl_core.encoders.shapes import weight_shapes
from ssl_sweep.sweep.grid.load import check_grid
from ssl_sweep.sweep.grid.marked_yaml import parse_yaml
from ssl_sweep.sweep.planning.expand import expand_all

GRID = """name: x
datasets:
  a:
    source: synthetic
    domain: objects
    size: {size}
pretrain:
  method: {method}
  encoder: {encoder}
  {more}
evaluate: {{domain: a, labels: 9}}
"""


def problems_of(folder: Path, size: int, method: str, encoder: str, more: str) -> list[str]:
    text = GRID.format(size=size, method=method, encoder=encoder, more=more)
    grid, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=folder))
    assert problems == []
    return [str(problem) for problem in expand_all(grid, {"a": info("a", 1000, size=size)})[1]]


def test_a_size_that_an_encoder_cannot_take_is_refused_at_its_line(tmp_path: Path) -> None:
    """Row of faults: accepted by validate and plan, failed in the run."""
    for method, more in (("random", "seed: 0"), ("simclr", "images: 100\n  domain: a\n  batch: 8")):
        (problem,) = problems_of(tmp_path, 17, method, "vit-s", more)
        assert problem == (
            "grid.yaml:6:11: image_size is 17; use a multiple of 4: vit-s cuts images into patches of 4 px"
        )
        assert problems_of(tmp_path, 16, method, "vit-s", more) == []


def test_weights_that_do_not_fit_are_refused_at_their_line(tmp_path: Path) -> None:
    """Row of faults: wrong advice, or found only in the run."""
    names = weight_shapes("resnet-demo", 32)
    state = {f"_orig_mod.backbone.{name}": torch.zeros(shape) for name, shape in names.items()}
    torch.save({"args": Namespace(root=tmp_path), "teacher": state}, tmp_path / "w.pth.tar")
    assert problems_of(tmp_path, 32, "weights", "resnet-demo", "weights: w.pth.tar") == []
    (problem,) = problems_of(tmp_path, 32, "weights", "resnet18", "weights: w.pth.tar")
    assert problem.startswith("grid.yaml:10:12: weights: ") and "has only" in problem
    assert problem.endswith("use the encoder of these weights; it fits resnet-demo")
    (tmp_path / "w.ckpt").write_bytes(b"something else")
    (problem,) = problems_of(tmp_path, 32, "weights", "resnet18", "weights: [w.ckpt]")
    assert problem.startswith("grid.yaml:10:13: weights: ") and "not a readable file of tensors" in problem
    (problem,) = problems_of(tmp_path, 32, "weights", "resnet18", "weights: ResNet18_Weights.IMAGENET1K_V1")
    assert "conv1.weight is (64, 3, 7, 7), the encoder has (64, 3, 3, 3)" in problem


def test_a_misfit_is_said_once_for_all_evaluations_of_one_size(tmp_path: Path) -> None:
    text = GRID.format(size=32, method="weights", encoder="resnet18", more="weights: w.pt").replace(
        "evaluate: {domain: a, labels: 9}", "evaluate: {domain: [a, b], labels: [9, 10]}"
    )
    text = text.replace("pretrain:", "  b: {source: synthetic, domain: scenes}\npretrain:")
    (tmp_path / "w.pt").write_bytes(b"something else")
    grid, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=tmp_path))
    assert problems == []
    assert len({str(problem) for problem in expand_all(grid, CATALOG)[1]}) == 1
