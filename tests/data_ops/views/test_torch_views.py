"""Parity of the torch back end with torchvision, and independence of batch, threads and neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.jitter import color_affine
from ssl_sweep.data_ops.views.named_policies import Mode, named_policy
from ssl_sweep.data_ops.views.policy import (
    CONTRAST,
    HUE,
    ORDERS,
    SATURATION,
    ViewParams,
    ViewPolicy,
    sample_params,
    simclr_policy,
)
from ssl_sweep.data_ops.views.torch_color import shift_hue_
from ssl_sweep.data_ops.views.torch_views import TorchViews, pixels_to_input

ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
PLAIN = ViewPolicy(size=32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0, jitter=0, grayscale=0, blur=0)


def pictures(n: int, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Smooth colourful images with noise, then pure noise, black, white, one grey and one saturated image."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(-40, 295, (n, 3, 6, 6)))
    smooth = (
        torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic").permute(0, 2, 3, 1).numpy()
    )
    images = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    images[1] = rng.integers(0, 256, images[1].shape)
    images[2], images[3], images[4] = 0, 255, 77
    images[5] = rng.integers(0, 2, images[5].shape) * 255
    return images


def torchvision_view(image: np.ndarray, p: ViewParams, policy: ViewPolicy) -> torch.Tensor:
    """The view of one image by torchvision's functions on float images, in grey levels; p has length 1."""
    x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    box = [int(v[0]) for v in (p.top, p.left, p.height, p.width)]
    x = F.resized_crop(x, *box, [policy.size, policy.size], antialias=True)
    x = F.hflip(x) if p.flip[0] else x
    if p.jitter[0]:
        for operation in ORDERS[p.order[0]]:
            x = ADJUST[operation](x, float(p.factors[0, operation]))
    x = F.rgb_to_grayscale(x, 3) if p.grayscale[0] else x
    if p.blur[0]:
        x = F.gaussian_blur(x, [policy.blur_kernel] * 2, [float(p.sigma[0])] * 2)
    # half a level below 128: on whole levels the same, and the fold is then continuous
    return (F.solarize(x, 127.5 / 255) if p.solarize[0] else x) * 255


def difference(images: np.ndarray, p: ViewParams, policy: ViewPolicy) -> torch.Tensor:
    """Absolute difference of our views and torchvision's, in grey levels."""
    ours = (TorchViews(policy).render(images, p) * 0.25 + 0.5) * 255
    theirs = [torchvision_view(images[i], p.take(slice(i, i + 1)), policy) for i in range(len(images))]
    return (ours - torch.stack(theirs)).abs()


@pytest.fixture
def two_torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [32, 45, 96])
@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)},
        {"flip": 1.0},
        {"jitter": 1.0, "brightness": 0.8},
        {"jitter": 1.0, "contrast": 0.8},
        {"jitter": 1.0, "saturation": 0.8},
        {"jitter": 1.0, "hue": 0.5},
        {"grayscale": 1.0},
        {"blur": 1.0, "blur_kernel": 5},
        {"solarize": 1.0},
    ],
    ids=["crop", "flip", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "solarize"],
)
def test_each_operation_is_torchvisions(size: int, change: dict[str, object]) -> None:
    still = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    policy = replace(PLAIN, size=size, **{**still, **change})  # type: ignore[arg-type]
    images = pictures(40, size, size)
    p = sample_params(policy, 0, 0, np.arange(40, dtype=np.uint64), 0)
    assert difference(images, p, policy).max() < 1e-3
    assert not np.array_equal(TorchViews(policy).render(images, p), pixels_to_input(images))


@pytest.mark.parametrize(
    ("size", "shape", "n"),
    [
        (32, (32, 32), 200),
        (32, (48, 48), 100),
        (40, (40, 56), 100),
        (64, (64, 64), 60),
        (96, (96, 96), 60),
        (96, (130, 100), 40),
    ],
)
def test_whole_views_are_torchvisions(size: int, shape: tuple[int, int], n: int) -> None:
    policy = simclr_policy(size, strength=1.0, blur=True)
    p = sample_params(policy, 7, 1, np.arange(n, dtype=np.uint64), 1, shape=shape)
    assert difference(pictures(n, *shape), p, policy).max() < 1e-3


def test_solarisation_of_stored_levels_is_torchvisions_at_threshold_128() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(12).reshape(1, 32, 32, 3)
    p = sample_params(replace(PLAIN, solarize=1.0), 0, 0, np.zeros(1, dtype=np.uint64), 0)
    ours = TorchViews(PLAIN).render(levels, p)
    theirs = F.solarize(torch.from_numpy(levels).permute(0, 3, 1, 2), 128).permute(0, 2, 3, 1).numpy()
    assert torch.allclose(ours, pixels_to_input(theirs), atol=2e-5)


@pytest.mark.parametrize("mode", ["exact", "affine"])
@pytest.mark.parametrize(
    ("name", "size", "stored"), [("byol", 32, 32), ("byol", 224, 256), ("moco-v2", 64, 80)]
)
def test_named_policies_are_torchvisions_too(name: str, size: int, stored: int, mode: Mode) -> None:
    images = pictures(24, stored, stored)
    for view, policy in enumerate(named_policy(name, size, mode)):
        p = sample_params(policy, 0, 0, np.arange(24, dtype=np.uint64), view, shape=(stored, stored))
        if mode == "exact":
            assert difference(images, p, policy).max() < 1e-3
        else:
            assert 0.1 < difference(images, p, policy).mean() < 12


def test_evaluation_of_images_stored_at_the_views_size_leaves_them_alone() -> None:
    for size in (32, 80):
        images = pictures(6, size, size)
        (policy,) = named_policy("evaluation", size)
        p = sample_params(policy, 0, 0, np.arange(6, dtype=np.uint64), 0)
        assert torch.allclose(TorchViews(policy).render(images, p), pixels_to_input(images), atol=2e-5)


def test_evaluation_of_larger_images_is_the_centre_crop() -> None:
    images = pictures(6, 256, 256)
    (policy,) = named_policy("evaluation", 224)
    p = sample_params(policy, 0, 0, np.arange(6, dtype=np.uint64), 0, shape=(256, 256))
    centre = pixels_to_input(images[:, 16:240, 16:240])
    assert torch.allclose(TorchViews(policy).render(images, p), centre, atol=2e-5)


def test_hue_of_every_colour_by_every_shift() -> None:
    levels = torch.tensor([0.0, 1.0, 2.0, 60.0, 127.0, 128.0, 200.0, 254.0, 255.0])
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 27, 27)
    for turns in np.linspace(-0.5, 0.5, 41):
        ours = colours.clone()
        shift_hue_(ours, torch.tensor(turns, dtype=torch.float32).view(1, 1, 1))
        assert (ours - F.adjust_hue(colours / 255, float(turns)) * 255).abs().max() < 1e-3


@pytest.mark.parametrize("mode", ["exact", "affine"])
@pytest.mark.parametrize("size", [32, 45, 96])
def test_a_view_is_bit_identical_in_any_batch(size: int, mode: str, two_torch_threads: None) -> None:
    policy = replace(simclr_policy(size, strength=1.0, blur=True), mode=mode, solarize=0.3)
    n = 80 if size == 32 else 24
    images = pictures(n, size, size)
    p = sample_params(policy, 0, 0, np.arange(n, dtype=np.uint64), 0)
    torch.set_num_threads(1)
    whole = TorchViews(policy).render(images, p)
    shared = TorchViews(policy, threads=2)
    assert torch.equal(shared.render(images, p), whole)
    shared.close()
    torch.set_num_threads(2)
    views = TorchViews(policy)
    assert torch.equal(views.render(images, p), whole)
    shuffled = np.random.default_rng(0).permutation(n)
    assert torch.equal(views.render(images[shuffled], p.take(shuffled)), whole[shuffled])
    for part in (slice(0, 1), slice(5, 6), slice(0, n // 2), slice(n // 2, n), slice(n - 3, n)):
        assert torch.equal(views.render(images[part], p.take(part)), whole[part])
    one_by_one = [views.render(images[i : i + 1], p.take(slice(i, i + 1))) for i in range(8)]
    assert torch.equal(torch.cat(one_by_one), whole[:8])


def test_affine_map_is_the_product_of_its_steps() -> None:
    policy = replace(simclr_policy(32, strength=1.0), mode="affine")
    p = sample_params(policy, 0, 0, np.arange(60, dtype=np.uint64), 0)
    on_pixel, on_mean = color_affine(p)
    luma = np.array([0.2989, 0.587, 0.114])
    x = np.random.default_rng(0).uniform(0, 255, (100, 3))
    for i in range(60):
        y = x.copy()
        for operation in ORDERS[p.order[i]]:
            f = float(p.factors[i, operation])
            if operation == HUE:  # rotate the part at right angles to grey
                grey = y.mean(axis=1, keepdims=True)
                around = np.cross(np.ones(3) / np.sqrt(3), y - grey)
                y = grey + np.cos(2 * np.pi * f) * (y - grey) + np.sin(2 * np.pi * f) * around
            elif operation == CONTRAST:
                y = f * y + (1 - f) * (y @ luma).mean()
            elif operation == SATURATION:
                y = f * y + (1 - f) * (y @ luma)[:, None]
            else:
                y = f * y
        if p.grayscale[i]:
            y = np.repeat((y @ luma)[:, None], 3, axis=1)
        assert np.abs(x @ on_pixel[i].T + x.mean(axis=0) @ on_mean[i].T - y).max() < 1e-2


def test_affine_rotates_hue_the_way_exact_does() -> None:
    images = np.full((1, 32, 32, 3), [200, 60, 60], dtype=np.uint8)
    policy = replace(PLAIN, jitter=1.0, brightness=0, contrast=0, saturation=0, hue=0.5)
    p = sample_params(policy, 0, 0, np.arange(1, dtype=np.uint64), 0)
    p.factors[0, HUE] = 1 / 3  # red becomes green in both
    exact, affine = (TorchViews(replace(policy, mode=mode)).render(images, p) for mode in ("exact", "affine"))
    assert torch.allclose(exact, affine, atol=1e-4)
    assert torch.allclose(exact[0, :, 0, 0], pixels_to_input(images)[0, [2, 0, 1], 0, 0], atol=1e-4)


def test_affine_is_near_exact_but_not_it() -> None:
    policy = simclr_policy(32)
    images = pictures(300, 32, 32)
    p = sample_params(policy, 0, 0, np.arange(300, dtype=np.uint64), 0)
    exact, affine = (TorchViews(replace(policy, mode=mode)).render(images, p) for mode in ("exact", "affine"))
    assert 0.5 < ((exact - affine).abs() * 63.75).mean() < 8


def test_views_and_evaluation_share_one_normalisation() -> None:
    images = pictures(8, 32, 32)
    p = sample_params(PLAIN, 0, 0, np.arange(8, dtype=np.uint64), 0)
    inputs = pixels_to_input(images)
    assert inputs.shape == (8, 3, 32, 32) and inputs.dtype == torch.float32
    assert torch.allclose(
        inputs, (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25, atol=1e-6
    )
    for mode in ("exact", "affine"):
        assert torch.allclose(TorchViews(replace(PLAIN, mode=mode)).render(images, p), inputs, atol=2e-5)


def test_a_read_only_memory_map_will_do(tmp_path: Path) -> None:
    images = pictures(8, 32, 32)
    np.save(tmp_path / "images.npy", images)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    policy = simclr_policy(32)
    p = sample_params(policy, 0, 0, np.arange(8, dtype=np.uint64), 0)
    assert torch.equal(TorchViews(policy).render(stored, p), TorchViews(policy).render(images, p))
    assert torch.equal(pixels_to_input(stored), pixels_to_input(images))


def test_autocast_of_the_caller_does_not_reach_the_pixels() -> None:
    policy = simclr_policy(32, blur=True)
    images = pictures(16, 32, 32)
    p = sample_params(policy, 0, 0, np.arange(16, dtype=np.uint64), 0)
    plain = TorchViews(policy).render(images, p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(TorchViews(policy).render(images, p), plain)


def test_an_empty_batch_gives_no_views() -> None:
    policy = simclr_policy(32, blur=True)
    p = sample_params(policy, 0, 0, np.arange(0, dtype=np.uint64), 0)
    for threads in (1, 2):
        views = TorchViews(policy, threads)
        assert views.render(np.zeros((0, 32, 32, 3), dtype=np.uint8), p).shape == (0, 3, 32, 32)
        views.close()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 48, 48, 3), dtype=np.uint8),
        np.zeros((5, 32, 32, 3), dtype=np.uint8),
        np.zeros((4, 32, 32, 3), dtype=np.float32),
        np.zeros((4, 3, 32, 32), dtype=np.uint8),
    ],
    ids=["size", "number", "type", "layout"],
)
def test_images_that_the_parameters_are_not_for_are_refused(images: np.ndarray) -> None:
    p = sample_params(PLAIN, 0, 0, np.arange(4, dtype=np.uint64), 0)
    with pytest.raises(DataError, match=r"parameters are for uint8 \(4, 32, 32, 3\)"):
        TorchViews(PLAIN).render(images, p)


def test_no_threads_are_refused() -> None:
    with pytest.raises(DataError, match="threads is 0"):
        TorchViews(PLAIN, threads=0)
