from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.encoders.heads import projection_head

DIMS = {
    "resnet-demo": 128,
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "resnet50-2x": 4096,
    "resnet50-4x": 8192,
    "vit-s": 384,
    "vit-b": 768,
}
RESNETS = [name for name in ENCODERS if name.startswith("resnet")]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.smoke
def test_every_encoder_is_tested():
    assert set(DIMS) == set(ENCODERS)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("size", [32, 96])
def test_features_have_the_stated_dimension(name, size):
    """Without memory or arithmetic, so that the widest ones are among them."""
    with torch.device("meta"):
        encoder = build_encoder(name, size).eval()
        assert encoder(torch.randn(2, 3, size, size)).shape == (2, DIMS[name])
    assert encoder.feature_dim == DIMS[name]


@pytest.mark.parametrize(
    ("name", "model"),
    [("resnet18",) * 2, ("resnet34",) * 2, ("resnet50",) * 2, ("vit-b", "vit_b_16")],
)
def test_state_dict_is_torchvisions_without_the_classifier(name, model):
    with torch.device("meta"):
        ours = build_encoder(name, 224).state_dict()
        theirs = getattr(torchvision.models, model)(weights=None).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in theirs.items() if not k.startswith(("fc.", "heads."))
    }


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (64, 3), (65, 7), (224, 7)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50-2x"])
def test_small_images_take_the_small_stem(name, size, kernel):
    with torch.device("meta"):
        encoder = build_encoder(name, size)
    assert encoder.conv1.kernel_size == (kernel, kernel)
    assert isinstance(encoder.maxpool, nn.Identity) == (kernel == 3)


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet50", 23.5), ("resnet50-2x", 93.9), ("resnet50-4x", 375)]
)
def test_widths_are_simclrs(name, millions):
    """Chen et al. 2020, table 6: 24, 94 and 375 million parameters."""
    with torch.device("meta"):
        encoder = build_encoder(name, 224)
    assert parameters(encoder) / 1e6 == pytest.approx(millions, rel=0.005)


def test_a_wider_resnet_starts_like_a_narrow_one():
    with torch_seed(0):
        encoder = build_encoder("resnet50-2x", 96)
    fan_out = encoder.layer1[0].conv2.weight[:, 0].numel()
    assert encoder.conv1.out_channels == 128 and encoder.layer4[2].conv3.out_channels == 4096
    assert float(encoder.layer1[0].conv2.weight.detach().std()) == pytest.approx(
        (2 / fan_out) ** 0.5, rel=0.03
    )


@pytest.mark.parametrize(
    ("name", "size", "patches"), [("vit-s", 224, 196), ("vit-b", 32, 64), ("vit-s", 28, 49)]
)
def test_patches_of_a_vit(name, size, patches):
    with torch.device("meta"):
        encoder = build_encoder(name, size)
    assert encoder.encoder.pos_embedding.shape[1] == patches + 1


def test_a_vit_takes_whole_patches_only():
    with pytest.raises(ValueError, match=r"image_size is 30; .*patches of 4 px"):
        build_encoder("vit-s", 30)


@pytest.mark.parametrize("name", [name for name in RESNETS if name not in ("resnet50-2x", "resnet50-4x")])
def test_residual_branches_start_at_zero_only_for_training(name):
    for zero in (True, False):
        blocks = [
            m
            for m in build_encoder(name, 32, zero_init_residual=zero).modules()
            if isinstance(m, BasicBlock | Bottleneck)
        ]
        gains = [b.bn3.weight if isinstance(b, Bottleneck) else b.bn2.weight for b in blocks]
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


@pytest.mark.parametrize("name", ["resnet-demo", "resnet18"])
def test_stages_are_the_pooled_outputs_of_the_blocks(name):
    encoder = build_encoder(name, 32, zero_init_residual=False).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        stages = encoder.stages(images)
        assert list(stages) == list(encoder.layers)
        last = list(stages.values())[-1]
        torch.testing.assert_close(last, encoder(images))  # the feature is the pooled last block
        if name == "resnet18":
            maps = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(images))))
            maps = encoder.layer3(encoder.layer2(encoder.layer1(maps)))
            torch.testing.assert_close(stages["layer3"], maps.mean((2, 3)))
            inner = encoder.stages(images, ("layer2.0", "layer3"))
            assert inner["layer2.0"].shape == (3, 128) and torch.equal(inner["layer3"], stages["layer3"])
    assert not any(module._forward_hooks for module in encoder.modules())


def test_stages_of_a_vit_are_class_tokens():
    encoder = build_encoder("vit-s", 16).eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        stages = encoder.stages(images)
        assert len(stages) == 12 and all(v.shape == (2, 384) for v in stages.values())
        torch.testing.assert_close(encoder.encoder.ln(list(stages.values())[-1]), encoder(images))


@pytest.mark.parametrize("layer", ["layer9", ""])
def test_unknown_layer(layer):
    encoder = build_encoder("resnet-demo", 32)
    with pytest.raises(ValueError, match=r"layer is .*blocks\.0, blocks\.1"):
        encoder.stages(torch.randn(2, 3, 32, 32), (layer,))


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
