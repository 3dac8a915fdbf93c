from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from ssl_core.config import ENCODERS
from ssl_core.encoders import build_encoder, torch_seed
from ssl_core.heads import projection_head


@pytest.mark.parametrize(("name", "dim"), [("resnet-demo", 128), ("resnet18", 512), ("resnet50", 2048)])
def test_features_have_the_stated_dimension(name, dim):
    encoder = build_encoder(name, 32).eval()
    with torch.no_grad():
        assert encoder(torch.randn(2, 3, 32, 32)).shape == (2, dim)
    assert encoder.feature_dim == dim
    assert name in ENCODERS


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_state_dict_is_torchvisions_without_the_classifier(name):
    ours = build_encoder(name, 224).state_dict()
    theirs = getattr(torchvision.models, name)(weights=None).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in theirs.items() if not k.startswith("fc.")
    }


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (64, 3), (65, 7), (224, 7)])
def test_small_images_take_the_small_stem(size, kernel):
    encoder = build_encoder("resnet18", size)
    assert encoder.conv1.kernel_size == (kernel, kernel)
    assert isinstance(encoder.maxpool, nn.Identity) == (kernel == 3)


@pytest.mark.parametrize("name", ENCODERS)
def test_residual_branches_start_at_zero_only_for_training(name):
    last = "bn3" if name == "resnet50" else "bn2"
    for zero in (True, False):
        gains = [
            v
            for k, v in build_encoder(name, 32, zero_init_residual=zero).state_dict().items()
            if k.endswith(f"{last}.weight")
        ]
        assert gains and all(
            torch.equal(g, torch.zeros_like(g) if zero else torch.ones_like(g)) for g in gains
        )


def test_weights_follow_the_seed_and_leave_the_callers_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    encoders = []
    for seed in (0, 0, 1):
        with torch_seed(seed):
            encoders.append(build_encoder("resnet-demo", 32))
    assert torch.equal(torch.rand(3), expected)
    first, again, other = (encoder.stem[0].weight for encoder in encoders)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_head_is_the_official_one(layers):
    head = projection_head(6, 4, layers)
    linears = [m for m in head if isinstance(m, nn.Linear)]
    norms = [m for m in head if isinstance(m, nn.BatchNorm1d)]
    assert [m.out_features for m in linears] == [6] * (layers - 1) + [4]
    assert all(m.bias is None for m in linears) and len(norms) == layers
    assert [m.bias.requires_grad for m in norms] == [True] * (layers - 1) + [False]
    assert isinstance(head[-1], nn.BatchNorm1d) and head(torch.randn(5, 6)).shape == (5, 4)


def test_unknown_encoder():
    with pytest.raises(ValueError, match=r"resnet19.*resnet18"):
        build_encoder("resnet19", 32)
