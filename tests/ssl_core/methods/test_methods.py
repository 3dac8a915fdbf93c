from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import trained_methods
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.methods.build import build_method, method_class
from ssl_sweep.ssl_core.methods.byol import BYOL, target_momentum
from ssl_sweep.ssl_core.methods.moco import MoCo, queue_length
from ssl_sweep.ssl_core.methods.simclr import SimCLR


def views(seed: int, n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 16, 16, generator=g), torch.randn(n, 3, 16, 16, generator=g)


def moco(**overrides: object) -> MoCo:
    with torch_seed(1):
        config = default_config("resnet-demo", 16, method="moco-v2", batch=4, **overrides)
        found = build_method(config, n_images=14)
    assert isinstance(found, MoCo)
    return found


def byol(**overrides: object) -> BYOL:
    with torch_seed(1):
        found = build_method(default_config("resnet-demo", 16, method="byol", batch=4, **overrides))
    assert isinstance(found, BYOL)
    return found


@pytest.mark.parametrize("name", trained_methods())
def test_every_method_says_what_it_takes(name):
    kind = method_class(name)
    assert kind.n_views in (1, 2) and isinstance(kind.labelled, bool)
    method = build_method(default_config("resnet-demo", 32, method=name, batch=8), n_classes=3, n_images=32)
    out = method(tuple(torch.randn(8, 3, 32, 32) for _ in range(kind.n_views)), torch.arange(8) % 3)
    assert out.loss.shape == () and out.features.shape[1] == method.encoder.feature_dim
    assert out.features.dim() == 2
    out.loss.backward()
    unused = [k for k, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == [], "several workers wait for the gradient of every parameter"


def test_methods_that_are_not_trained():
    for name in ("random", "weights"):
        said = f"method '{name}' is not trained, or not installed here; pretrain.. takes simclr"
        with pytest.raises(ValueError, match=said):
            method_class(name)


@pytest.mark.parametrize("name", ["simclr", "moco-v2", "byol"])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_heads_of_any_depth(name, layers):
    method = build_method(
        default_config("resnet-demo", 16, method=name, batch=4, head_layers=layers, head_dim=8)
    )
    assert sum(isinstance(m, nn.Linear) for m in method.head.modules()) == layers
    out = method(views(0), None)
    out.loss.backward()
    assert torch.isfinite(out.loss)


def test_without_a_head_the_features_themselves_are_contrasted():
    method = build_method(default_config("resnet-demo", 16, head_layers=0))
    assert isinstance(method, SimCLR)
    features = torch.randn(6, 128)
    assert torch.equal(method.head(features), features)


def test_moco_keys_replace_the_oldest_in_whole_batches():
    method = moco()
    assert method.queue.shape == (12, 64), "the most whole batches of 4 in 14 images"
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(12))
    before = method.queue.clone()
    for step in range(4):
        method(views(step), None)
        keys = method._keys
        method.after_step(step, 10)
        at = 4 * (step % 3)
        assert torch.equal(method.queue[at : at + 4], keys)
        if step == 0:
            assert torch.equal(method.queue[4:], before[4:])


def test_moco_queue_lengths():
    def length(n_images: int, **overrides: object) -> int:
        return queue_length(default_config("resnet50", 224, method="moco-v2", **overrides), n_images)

    assert length(1_281_167) == 65_536 == length(0)
    assert length(50_000) == 195 * 256
    assert length(50_000, batch=100) == 50_000 and length(50_000, queue=1024) == 1024
    assert length(1000, queue=4096) == 768, "never longer than the images"
    with pytest.raises(ValueError, match=r"queue is 100; use a multiple of batch \(256\)"):
        length(50_000, queue=100)


def test_moco_loss_is_that_of_its_parts_and_only_the_query_learns():
    method = moco()
    one, two = views(7)
    out = method((one, two), None)
    q = F.normalize(method.head(method.encoder(one)), dim=1)
    k = F.normalize(method.key_head(method.key_encoder(two)), dim=1)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ method.queue.T], dim=1) / 0.2
    expected = -(logits[:, 0] - logits.logsumexp(1)).mean()
    torch.testing.assert_close(out.loss, expected)
    out.loss.backward()
    assert all(p.grad is None for m in (method.key_encoder, method.key_head) for p in m.parameters())


@pytest.mark.parametrize("kind", ["moco", "byol"])
def test_slow_copies_follow_the_formula(kind):
    method = moco(momentum_encoder=0.9) if kind == "moco" else byol(momentum_encoder=0.9)
    slow = method.key_encoder if isinstance(method, MoCo) else method.target_encoder
    start = [p.clone() for p in slow.parameters()]
    assert all(torch.equal(p, f) for p, f in zip(start, method.encoder.parameters(), strict=True))
    method(views(0), None)
    with torch.no_grad():
        for p in method.encoder.parameters():
            p += 1
    keep = 0.9 if kind == "moco" else 1 - 0.1 * (math.cos(math.pi * 3 / 10) + 1) / 2
    method.after_step(3, 10)
    for p, before, fast in zip(slow.parameters(), start, method.encoder.parameters(), strict=True):
        torch.testing.assert_close(p, keep * before + (1 - keep) * fast)
    assert not any(p.requires_grad for p in slow.parameters())


def test_byol_target_momentum_of_every_step():
    for step in range(101):
        expected = 1 - (1 - 0.996) * (math.cos(math.pi * step / 100) + 1) / 2
        assert target_momentum(step, 100, 0.996) == pytest.approx(expected, abs=1e-15)
    assert target_momentum(0, 100, 0.996) == pytest.approx(0.996) and target_momentum(100, 100, 0.996) == 1


def test_byol_is_symmetric_and_its_target_does_not_learn():
    one, two = views(3)
    method = byol()
    loss = method((one, two), None).loss
    torch.testing.assert_close(byol()((two, one), None).loss, loss)
    p1, p2 = (method.predictor(method.head(method.encoder(v))) for v in (one, two))
    t1, t2 = (method.target_head(method.target_encoder(v)) for v in (one, two))
    expected = sum(
        (F.normalize(p, dim=1) - F.normalize(t, dim=1)).square().sum(1).mean()
        for p, t in ((p1, t2), (p2, t1))
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is None for m in (method.target_encoder, method.target_head) for p in m.parameters())


@pytest.mark.parametrize(("encoder", "size", "hidden"), [("resnet-demo", 16, 256), ("resnet18", 32, 1024)])
def test_byol_hidden_layers_are_in_proportion(encoder, size, hidden):
    method = build_method(default_config(encoder, size, method="byol"))
    assert method.head[0].out_features == method.predictor[0].out_features == hidden
    small = build_method(default_config(encoder, size, method="byol", predictor_dim=32))
    assert small.head[0].out_features == small.predictor[0].out_features == 32
