from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.policy import (
    BRIGHTNESS,
    HUE,
    ORDERS,
    ViewParams,
    ViewPolicy,
    sample_params,
    simclr_policy,
)

KEYS = np.arange(4000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def same(a: ViewParams, b: ViewParams) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


@pytest.mark.smoke
def test_parameters_depend_on_the_key_and_not_on_its_company() -> None:
    policy = simclr_policy(96)
    full = sample_params(policy, 3, 5, KEYS, 1)
    chosen = np.array([7, 3, 3999, 7])
    assert same(full.take(chosen), sample_params(policy, 3, 5, KEYS[chosen], 1))
    assert same(full.take(slice(10, 11)), sample_params(policy, 3, 5, KEYS[10:11], 1))


@pytest.mark.smoke
@pytest.mark.parametrize("other", [(4, 5, 1), (3, 6, 1), (3, 5, 0)], ids=["seed", "epoch", "view"])
def test_seed_epoch_and_view_give_independent_parameters(other: tuple[int, int, int]) -> None:
    policy = simclr_policy(96)
    a = sample_params(policy, 3, 5, KEYS, 1)
    b = sample_params(policy, other[0], other[1], KEYS, other[2])
    assert abs(np.corrcoef(a.sigma, b.sigma)[0, 1]) < 0.06
    assert abs(np.corrcoef(a.height * a.width, b.height * b.width)[0, 1]) < 0.06
    assert 0.44 < np.mean(a.flip == b.flip) < 0.56


@pytest.mark.smoke
def test_sampler_is_frozen() -> None:
    # a change here changes every view of every study that exists: raise the stage's version with it
    p = sample_params(simclr_policy(96), 1, 2, KEYS[:200], 0)
    integers = np.stack([p.top, p.left, p.height, p.width, p.flip, p.jitter, p.order, p.grayscale, p.blur])
    floats = np.rint(np.column_stack([p.factors, p.sigma]) * 10_000)
    digest = hashlib.sha256(integers.astype("<i8").tobytes() + floats.astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "680bf06493327af0"


@pytest.mark.parametrize("shape", [(96, 96), (60, 110)])
def test_crops_have_the_distribution_of_torchvision(shape: tuple[int, int]) -> None:
    p = sample_params(simclr_policy(96), 0, 0, KEYS, 0, shape=shape)
    assert (p.top >= 0).all() and (p.top + p.height <= shape[0]).all()
    assert (p.left >= 0).all() and (p.left + p.width <= shape[1]).all()
    crop, image = v2.RandomResizedCrop(96), torch.empty(3, *shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [crop.make_params([image]) for _ in range(4000)]
    theirs = np.array([[d["top"], d["left"], d["height"], d["width"]] for d in drawn])
    ours = np.stack([p.top, p.left, p.height, p.width], axis=1)
    for mine, other in zip(ours.T, theirs.T, strict=True):
        assert stats.ks_2samp(mine, other).pvalue > 1e-3
    area, aspect = ours[:, 2] * ours[:, 3], ours[:, 3] / ours[:, 2]
    assert stats.ks_2samp(area, theirs[:, 2] * theirs[:, 3]).pvalue > 1e-3
    assert stats.ks_2samp(aspect, theirs[:, 3] / theirs[:, 2]).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(500, 40), (40, 500), (101, 30)])
def test_where_no_crop_fits_it_is_the_centre_as_in_torchvision(shape: tuple[int, int]) -> None:
    policy = replace(simclr_policy(32), scale=(1.0, 1.0))
    p = sample_params(policy, 0, 0, KEYS[:20], 0, shape=shape)
    theirs = v2.RandomResizedCrop(32, scale=(1.0, 1.0)).make_params([torch.empty(3, *shape)])
    for name in ("top", "left", "height", "width"):
        assert set(getattr(p, name).tolist()) == {theirs[name]}, name


def test_gates_factors_and_orders_follow_the_policy() -> None:
    policy = simclr_policy(224)
    p = sample_params(policy, 0, 0, KEYS, 0)
    for drawn, probability in [
        (p.flip, policy.flip),
        (p.jitter, policy.jitter),
        (p.grayscale, policy.grayscale),
        (p.blur, policy.blur),
    ]:
        assert abs(drawn.mean() - probability) < 0.03
    assert (p.factors[~p.jitter] == np.float32([1, 1, 1, 0])).all()
    jittered = p.factors[p.jitter]
    for factor, low, high in zip(jittered.T, (0.2, 0.2, 0.2, -0.2), (1.8, 1.8, 1.8, 0.2), strict=True):
        assert stats.kstest(factor, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert stats.kstest(p.sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    assert len(ORDERS) == 24
    assert stats.chisquare(np.bincount(p.order, minlength=24)).pvalue > 1e-3
    gates = np.stack([p.flip, p.jitter, p.grayscale, p.blur, p.sigma > 1, p.order % 2])
    assert np.abs(np.corrcoef(gates) - np.eye(6)).max() < 0.06


def test_a_strength_above_one_never_gives_a_negative_factor() -> None:
    p = sample_params(replace(simclr_policy(32), brightness=1.6), 0, 0, KEYS, 0)
    assert p.factors[:, BRIGHTNESS].min() >= 0
    assert p.factors[:, BRIGHTNESS].max() > 2.5


def test_simclr_policy_by_size() -> None:
    small, medium, large = simclr_policy(32), simclr_policy(96), simclr_policy(224)
    assert (small.brightness, small.hue, small.blur) == (0.4, 0.1, 0.0)
    assert (large.brightness, large.hue, large.blur) == (0.8, 0.2, 0.5)
    assert (medium.blur_kernel, large.blur_kernel) == (9, 23)
    forced = simclr_policy(32, strength=0.25, blur=True, mode="affine")
    assert (forced.saturation, forced.hue, forced.blur, forced.blur_kernel) == (0.2, 0.05, 0.5, 3)
    assert forced.mode == "affine"
    assert sample_params(replace(small, hue=0.0), 0, 0, KEYS, 0).factors[:, HUE].any() == np.False_


def test_solarisation_has_a_slot_of_its_own() -> None:
    policy = simclr_policy(96)
    plain, some = (sample_params(replace(policy, solarize=s), 0, 0, KEYS, 1) for s in (0.0, 0.2))
    assert not plain.solarize.any() and abs(some.solarize.mean() - 0.2) < 0.03
    assert same(plain, replace(some, solarize=plain.solarize))
    gates = np.stack([some.solarize, some.flip, some.jitter, some.grayscale, some.blur, some.sigma > 1])
    assert np.abs(np.corrcoef(gates)[0, 1:]).max() < 0.06


@pytest.mark.parametrize(
    ("size", "shape", "box"),
    [
        (224, (256, 256), (16, 16, 224, 224)),  # Resize(256) and CenterCrop(224)
        (224, (512, 512), (32, 32, 448, 448)),
        (224, (224, 224), (0, 0, 224, 224)),  # none enlarged
        (32, (32, 32), (0, 0, 32, 32)),
        (224, (256, 300), (16, 38, 224, 224)),
        (64, (40, 50), (0, 5, 40, 40)),
    ],
)
def test_a_centre_crop_is_the_same_for_every_draw(
    size: int, shape: tuple[int, int], box: tuple[int, ...]
) -> None:
    policy = ViewPolicy(size=size, crop="centre", scale=(49 / 64, 49 / 64))
    p = sample_params(policy, 5, 6, KEYS[:9], 1, shape=shape)
    assert {tuple(row) for row in np.stack([p.top, p.left, p.height, p.width], axis=1).tolist()} == {box}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"scale": (0.5, 1.2)}, "scale"),
        ({"ratio": (2.0, 1.0)}, "ratio"),
        ({"flip": 1.5}, "flip is 1.5; it is a probability"),
        ({"contrast": -0.1}, "contrast"),
        ({"hue": 0.6}, "hue is 0.6; use 0 to 0.5"),
        ({"blur_kernel": 4}, "odd"),
        ({"blur_kernel": 65}, "below twice the size"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma"),
        ({"size": 4}, "at least 8"),
        ({"mode": "twist"}, "'exact' or 'affine'"),
        ({"crop": "middle"}, "'random' or 'centre'"),
        ({"solarize": 1.1}, "solarize is 1.1; it is a probability"),
    ],
)
def test_impossible_policies_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ViewPolicy(**{"size": 32, **change})  # type: ignore[arg-type]
