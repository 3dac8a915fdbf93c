"""Named policies and those that a user writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.named_policies import POLICIES, named_policy, view_policies
from ssl_sweep.data_ops.views.policy import ViewPolicy, sample_params, simclr_policy

KEYS = np.arange(50, dtype=np.uint64)


@pytest.mark.parametrize("size", [16, 32, 64, 96, 224])
def test_every_name_is_a_policy_at_every_size(size: int) -> None:
    for name in POLICIES:
        for mode in ("exact", "affine"):
            policies = named_policy(name, size, mode)
            assert len(policies) == (2 if name == "byol" else 1)
            assert {(p.size, p.mode) for p in policies} == {(size, mode)}


@pytest.mark.parametrize("size", [32, 224])
def test_simclr_keeps_its_identity(size: int) -> None:
    # equal to what was there before there were names: nothing that was trained is done again
    assert named_policy("simclr", size) == (simclr_policy(size),)
    assert named_policy("simclr-imagenet", size) == (simclr_policy(size, strength=1.0, blur=True),)
    assert named_policy("simclr-cifar", size) == (simclr_policy(size, strength=0.5, blur=False),)
    assert named_policy("simclr", 224) == named_policy("simclr-imagenet", 224)
    assert named_policy("simclr", 32) == named_policy("simclr-cifar", 32)


def test_published_values() -> None:
    (moco,) = named_policy("moco-v2", 224)
    assert (moco.scale, moco.brightness, moco.saturation, moco.hue) == ((0.2, 1.0), 0.4, 0.4, 0.1)
    assert (moco.jitter, moco.grayscale, moco.blur, moco.blur_sigma) == (0.8, 0.2, 0.5, (0.1, 2.0))
    first, second = named_policy("byol", 224)
    assert (first.blur, first.solarize, second.blur, second.solarize) == (1.0, 0.0, 0.1, 0.2)
    assert replace(second, blur=1.0, solarize=0.0) == first
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (first.scale, first.blur_kernel) == ((0.08, 1.0), 23)


def test_nothing_is_random_in_evaluation_and_no_colour_changes_in_supervised() -> None:
    (policy,) = named_policy("evaluation", 32)
    draws = [sample_params(policy, seed, epoch, KEYS, view) for seed, epoch, view in [(0, 0, 0), (1, 2, 3)]]
    for p in draws:
        assert not (p.flip | p.jitter | p.grayscale | p.blur | p.solarize).any()
        assert (p.height == 32).all() and (p.top == 0).all()
    p = sample_params(named_policy("supervised", 32)[0], 0, 0, KEYS, 0)
    assert not (p.jitter | p.grayscale | p.blur | p.solarize).any()
    assert 0 < p.flip.mean() < 1 and len(set(p.height.tolist())) > 5


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("kept", ["crop", "colour", "crop-colour"])
def test_an_ablation_keeps_what_its_name_says(kept: str, blur: bool, size: int) -> None:
    (policy,) = named_policy(f"{kept}-blur" if blur else kept, size)
    whole = simclr_policy(size)
    assert policy.blur == (0.5 if blur else 0.0)
    assert (policy.jitter, policy.grayscale) == ((0.8, 0.2) if "colour" in kept else (0.0, 0.0))
    assert policy.scale == (whole.scale if "crop" in kept else (1.0, 1.0))
    assert (policy.flip, policy.brightness) == (whole.flip, whole.brightness)
    p = sample_params(policy, 0, 0, KEYS, 0)
    assert ("crop" in kept) == (p.height < size).any()


def test_a_users_policy_is_a_base_with_changes() -> None:
    given = {"base": "moco-v2", "hue": 0, "scale": [0.5, 1], "blur_kernel": 5, "solarize": 0.1}
    (policy,) = view_policies(given, 32, "affine")
    (base,) = named_policy("moco-v2", 32, "affine")
    assert policy == replace(base, hue=0.0, scale=(0.5, 1.0), blur_kernel=5, solarize=0.1)
    assert isinstance(policy.hue, float)  # 0 and 0.0 are one policy and have one identity
    assert view_policies({}, 96) == (simclr_policy(96),)
    assert view_policies("simclr", 96) == (simclr_policy(96),)
    pair = view_policies(["crop", {"base": "crop", "flip": 0.0}], 32)
    assert pair[1] == replace(pair[0], flip=0.0)
    both = view_policies({"base": "byol", "grayscale": 0.0}, 32)
    assert [p.grayscale for p in both] == [0.0, 0.0] and both[0].blur != both[1].blur


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("simcrl", r"no view policy 'simcrl' \(did you mean 'simclr'\?\)"),
        ({"base": "bjol"}, r"no view policy 'bjol' \(did you mean 'byol'\?\)"),
        ({"base": 3}, "base is 3; give the name"),
        ({"grayscle": 0.1}, r"no field 'grayscle' \(did you mean 'grayscale'\?\)"),
        ({"size": 64}, "size cannot be set here"),
        ({"mode": "affine"}, "mode cannot be set here"),
        ({"hue": "strong"}, "hue is 'strong'; give a number"),
        ({"hue": True}, "hue is True; give a number"),
        ({"hue": float("nan")}, "hue is nan; give a number"),
        ({"hue": 0.7}, "hue is 0.7; use 0 to 0.5"),
        ({"scale": 0.5}, r"scale is 0.5; give two numbers, \[low, high\]"),
        ({"scale": [0.1, "a"]}, "give two numbers"),
        ({"blur_kernel": 3.0}, "blur_kernel is 3.0; give an odd whole number"),
        ({"blur_kernel": 4}, "blur_kernel is 4; use an odd number"),
        ({"crop": 1}, "crop is 1; use 'random' or 'centre'"),
        ([], "views are "),
        (3, "views are 3"),
        ([3], "view 1 is 3; give a name or fields"),
        (["crop", "byol"], "view 2 is 'byol', which is a policy for 2 views itself"),
    ],
)
def test_what_is_no_policy_is_refused(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        view_policies(given, 32)


def test_names_lead_to_distinct_policies() -> None:
    at = {name: named_policy(name, 224) for name in POLICIES}
    same = {frozenset(n for n in at if at[n] == value) for value in at.values()}
    assert {group for group in same if len(group) > 1} == {
        frozenset({"simclr", "simclr-imagenet", "crop-colour-blur"}),
        frozenset({"crop", "supervised"}),
    }
    assert all(isinstance(p, ViewPolicy) for value in at.values() for p in value)
