"""The batched torch back end of GPUs, on torch's CPU device, against the CPU's back end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.backend import choose_views
from ssl_sweep.data_ops.views.device_images import DeviceImages
from ssl_sweep.data_ops.views.loader import ViewLoader
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import sample_params, simclr_policy
from ssl_sweep.data_ops.views.torch_device import TorchDeviceViews
from ssl_sweep.data_ops.views.torch_views import TorchViews

CPU = torch.device("cpu")
LEVELS = 63.75  # grey levels of one unit


def noise(n: int, size: int) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    images[1], images[2] = 0, 255
    return images


@pytest.mark.parametrize("mode", ["exact", "affine"])
@pytest.mark.parametrize(("size", "stored", "n"), [(32, 32, 200), (32, 48, 60), (96, 80, 30)])
def test_agrees_with_the_back_end_of_the_cpu(size: int, stored: int, n: int, mode: str) -> None:
    policy = replace(simclr_policy(size, strength=1.0, blur=True), mode=mode, solarize=0.2)
    params = sample_params(policy, 2, 3, np.arange(n, dtype=np.uint64), 1, shape=(stored, stored))
    assert params.blur.any() and params.solarize.any() and not params.jitter.all()
    images = noise(n, stored)
    views = TorchDeviceViews(policy, CPU)
    ours = views.render(images, params)
    assert views.name == f"torch-cpu-{mode}"
    assert ours.shape == (n, 3, size, size) and ours.dtype == torch.float32
    levels = (ours - TorchViews(policy).render(images, params)).abs() * LEVELS
    assert levels.max() < 0.01


@pytest.mark.parametrize("stored", [32, 40])
def test_enlarged_crops_without_blur_or_jitter_agree(stored: int) -> None:
    policy = replace(simclr_policy(40, blur=False), jitter=0.0, scale=(0.05, 0.2))
    params = sample_params(policy, 0, 0, np.arange(50, dtype=np.uint64), 0, shape=(stored, stored))
    images = noise(50, stored)
    levels = TorchDeviceViews(policy, CPU).render(images, params) - TorchViews(policy).render(images, params)
    assert (levels.abs() * LEVELS).max() < 0.01


def test_large_batches_are_rendered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = simclr_policy(32, blur=True)
    params = sample_params(policy, 0, 0, np.arange(50, dtype=np.uint64), 0)
    whole = TorchDeviceViews(policy, CPU).render(noise(50, 32), params)
    monkeypatch.setattr("ssl_sweep.data_ops.views.torch_device._MOST_FLOATS", 7 * 3 * 32 * 32)
    parts = TorchDeviceViews(policy, CPU).render(noise(50, 32), params)
    assert ((parts - whole).abs() * LEVELS).max() < 0.01
    none = TorchDeviceViews(policy, CPU).render(noise(50, 32)[:0], params.take(slice(0)))
    assert none.shape == (0, 3, 32, 32)


def test_operations_neither_wait_for_the_device_nor_leave_it() -> None:
    """The meta device has no values: any look at one raises, and so would mixing in a tensor of the CPU."""
    policy = replace(simclr_policy(96), solarize=0.2)
    params = sample_params(policy, 0, 0, np.arange(9, dtype=np.uint64), 0)
    for mode in ("exact", "affine"):
        views = TorchDeviceViews(replace(policy, mode=mode), torch.device("meta"))
        assert views.render(noise(9, 96), params).shape == (9, 3, 96, 96)


class Counted:
    """An array that counts its reads."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.reads = pixels, 0
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        self.reads += 1
        return self.pixels[index]


@pytest.mark.parametrize("policies", [named_policy("simclr", 32) * 2, named_policy("byol", 32)])
@pytest.mark.parametrize("resident", [False, True])
def test_batches_read_on_the_device_are_those_of_the_host(
    policies: tuple, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One copy to the device serves both views; resident images are not copied again."""
    keys = np.arange(40, dtype=np.uint64)
    rows = np.arange(39, -1, -1)
    views = [TorchDeviceViews(policy, CPU) for policy in policies]

    def loaded(images: object) -> list:
        loader = ViewLoader(images, keys, batch=8, seed=1, views=views, rows=rows)  # type: ignore[arg-type]
        return list(loader.batches(0, 7))

    expected = loaded(noise(40, 32))
    source = Counted(noise(40, 32))
    images = DeviceImages(source, CPU, resident=resident)
    reads = source.reads
    assert reads == (1 if resident else 0) and images.shape == source.shape and len(images) == 40
    copies: list[int] = []
    copy = DeviceImages._copy
    monkeypatch.setattr(
        DeviceImages, "_copy", lambda self, pixels: (copies.append(len(pixels)), copy(self, pixels))[1]
    )
    found = loaded(images)
    assert copies == ([] if resident else [8] * 7)
    assert source.reads - reads == (0 if resident else 7)
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.views, theirs.views, strict=True))
        assert np.array_equal(ours.index, theirs.index)


def test_parameters_of_other_images_are_refused() -> None:
    policy = simclr_policy(32)
    params = sample_params(policy, 0, 0, np.arange(4, dtype=np.uint64), 0)
    with pytest.raises(DataError, match="draw them with sample_params"):
        TorchDeviceViews(policy, CPU).render(torch.zeros(4, 31, 32, 3, dtype=torch.uint8), params)


def test_torch_renders_on_the_gpu_when_asked_for() -> None:
    """Only its name is known without a GPU."""
    policy = simclr_policy(32, blur=False)
    views = choose_views(policy, "torch", 8, cuda=True)
    assert (views.name, views.device.type) == ("torch-cuda-exact", "cuda")
    assert choose_views(policy, "torch", 8, cuda=False).name == "torch-exact"
