"""The DALI graph on CPU against the torch back end, and its GPU definition without a GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.backend import choose_views
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import sample_params, simclr_policy
from ssl_sweep.data_ops.views.torch_views import TorchViews

pytest.importorskip("nvidia.dali", reason="DALI has no wheel for this platform")

from nvidia.dali import fn, pipeline_def
from nvidia.dali.backend import RegisteredGPUOps

from ssl_sweep.data_ops.views.dali_views import DaliViews, view_pipeline


@pytest.fixture
def build() -> Iterator[Callable[..., DaliViews]]:
    """DaliViews, closed at the end of the test."""
    built: list[DaliViews] = []

    def make(*args: Any, **kwargs: Any) -> DaliViews:
        built.append(DaliViews(*args, **kwargs))
        return built[-1]

    yield make
    for views in built:
        views.close()


def pictures(n: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(-40, 295, (n, 3, 6, 6)))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").permute(0, 2, 3, 1).numpy()
    images = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    images[1] = rng.integers(0, 256, images[1].shape)
    images[2], images[3], images[4] = 0, 255, 77
    return images


@pytest.mark.parametrize("mode", ["exact", "affine"])
@pytest.mark.parametrize(("size", "n"), [(32, 200), (64, 60), (96, 40)])
def test_agrees_with_torch(build: Callable[..., DaliViews], size: int, n: int, mode: str) -> None:
    policy = replace(simclr_policy(size, strength=1.0, blur=True), mode=mode)
    p = sample_params(policy, 2, 3, np.arange(n, dtype=np.uint64), 1)
    images = pictures(n, size)
    views = build(policy, n)
    assert views.name == f"dali-cpu-{mode}"
    ours = views.render(images, p)
    assert ours.shape == (n, 3, size, size) and ours.dtype == torch.float32
    levels = (ours - TorchViews(policy).render(images, p)).abs() * 63.75
    assert levels.max() < 0.01  # no step rounds to whole levels


@pytest.mark.parametrize("size", [32, 96])
def test_an_asymmetric_pair_agrees_with_torch(build: Callable[..., DaliViews], size: int) -> None:
    images = pictures(40, size)
    for view, policy in enumerate(named_policy("byol", size)):
        p = sample_params(policy, 2, 3, np.arange(40, dtype=np.uint64), view)
        assert p.solarize.any() == (view == 1)
        levels = (build(policy, 40).render(images, p) - TorchViews(policy).render(images, p)).abs() * 63.75
        assert levels.max() < 0.01


@pytest.mark.parametrize(
    ("size", "stored", "n"), [(32, 48, 100), (32, 150, 40), (40, 33, 60), (224, 256, 24)]
)
def test_images_stored_larger_or_smaller_than_views_agree_to_the_rim(
    build: Callable[..., DaliViews], size: int, stored: int, n: int
) -> None:
    policy = simclr_policy(size)
    p = sample_params(policy, 2, 3, np.arange(n, dtype=np.uint64), 0, shape=(stored, stored))
    assert stored < size or (p.height > size).any()
    images = pictures(n, stored)
    levels = (build(policy, n).render(images, p) - TorchViews(policy).render(images, p)).abs() * 63.75
    assert levels.max() < 0.01


def test_a_view_is_bit_identical_in_any_batch_and_stays_as_returned(build: Callable[..., DaliViews]) -> None:
    policy = simclr_policy(32, blur=True)
    n = 50
    images = pictures(n, 32)
    p = sample_params(policy, 0, 0, np.arange(n, dtype=np.uint64), 0)
    views = build(policy, 16)
    whole = views.render(images, p)  # in four runs of the pipeline
    kept = whole.clone()
    first = views.render(images[:16], p.take(slice(0, 16)))
    for part in (slice(0, 1), slice(17, 20), slice(n - 3, n)):
        assert torch.equal(views.render(images[part], p.take(part)), kept[part])
    assert torch.equal(first, kept[:16]) and torch.equal(whole, kept)
    assert torch.equal(build(policy, n, threads=2).render(images, p), kept)
    assert views.render(images[:0], p.take(slice(0, 0))).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("mode", ["exact", "affine"])
@pytest.mark.parametrize("blur", [True, False])
@pytest.mark.parametrize("solarize", [0.0, 0.2])
def test_definition_for_the_gpu_is_legal(mode: str, blur: bool, solarize: float) -> None:
    policy = replace(simclr_policy(96, blur=blur), mode=mode, solarize=solarize)
    pipeline = view_pipeline(policy, 16, "gpu")
    pipeline._build_graph()  # the graph alone: building the back end would need the device
    on_gpu = [op for op in pipeline._ops if any(out.device == "gpu" for out in op.outputs)]
    assert len(on_gpu) > 5
    sources = [op for op in on_gpu if not op.inputs]
    assert [out.name for op in sources for out in op.outputs] == ["images"]  # one tensor serves all views
    assert {op._op.schema_name for op in on_gpu if op not in sources} <= set(RegisteredGPUOps())
    assert [out.device for out in pipeline._graph_outputs] == ["gpu"]


def test_definition_for_the_gpu_would_show_an_illegal_argument() -> None:
    @pipeline_def(batch_size=2, num_threads=1, device_id=0)
    def illegal() -> Any:
        x = fn.external_source(name="x", layout="HWC").gpu()
        return fn.contrast(x, contrast=1.5, contrast_center=fn.reductions.mean(x))

    with pytest.raises(Exception, match="must be on CPU"):
        illegal()._build_graph()


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is absent")
def test_an_absent_gpu_is_named() -> None:
    with pytest.raises(DataError, match="torch sees none"):
        choose_views(simclr_policy(32), "dali", 8, cuda=True)


def test_a_closed_back_end_says_so(build: Callable[..., DaliViews]) -> None:
    policy = simclr_policy(32)
    views = build(policy, 8)
    views.close()
    p = sample_params(policy, 0, 0, np.arange(2, dtype=np.uint64), 0)
    with pytest.raises(DataError, match="closed"):
        views.render(np.zeros((2, 32, 32, 3), dtype=np.uint8), p)


def test_choice_of_the_back_end() -> None:
    policy = simclr_policy(32)
    backends: tuple[Literal["auto", "torch", "dali"], ...] = ("auto", "torch", "dali")
    chosen = {backend: choose_views(policy, backend, 8, cuda=False) for backend in backends}
    assert {backend: views.name for backend, views in chosen.items()} == {
        "auto": "torch-exact",
        "torch": "torch-exact",
        "dali": "dali-cpu-exact",
    }
    for views in chosen.values():
        views.close()
    with pytest.raises(DataError, match="use 'auto', 'torch' or 'dali'"):
        choose_views(policy, "kornia", 8, cuda=False)  # type: ignore[arg-type]


def test_dali_is_imported_only_when_asked_for_and_its_absence_is_explained() -> None:
    code = """
import sys
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.backend import choose_views
from ssl_sweep.data_ops.views.policy import simclr_policy
print(choose_views(simclr_policy(32), "auto", 8, cuda=False).name, "nvidia.dali" in sys.modules)
sys.modules["nvidia.dali"] = None
try:
    choose_views(simclr_policy(32), "dali", 8, cuda=False)
except DataError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("torch-exact False\n")
    assert "install nvidia-dali-cuda130" in out
