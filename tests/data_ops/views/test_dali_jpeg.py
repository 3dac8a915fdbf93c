"""Views from encoded files on DALI's CPU device against Pillow and torch; the GPU's definition."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ViewParams, sample_params
from ssl_sweep.data_ops.views.torch_views import TorchViews

pytest.importorskip("nvidia.dali", reason="DALI has no wheel for this platform")

from nvidia.dali.backend import RegisteredGPUOps

from ssl_sweep.data_ops.views.dali_jpeg import DaliJpegViews, jpeg_pipeline, jpeg_shapes

POLICIES = named_policy("byol", 64)
SHAPES = [(90, 120), (64, 64), (50, 200), (201, 77), (300, 300), (40, 41)]


def jpeg(rows: int, columns: int, seed: int) -> bytes:
    coarse = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (1, 3, 5, 5)))
    smooth = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic")[0].permute(1, 2, 0)
    file = io.BytesIO()
    pixels = smooth.clamp(0, 255).byte().numpy()
    Image.fromarray(pixels).convert("L" if seed == 5 else "RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


FILES = [jpeg(*shape, seed) for seed, shape in enumerate(SHAPES)]
KEYS = np.arange(len(FILES), dtype=np.uint64)


def drawn(shapes: np.ndarray, keys: np.ndarray = KEYS) -> list[ViewParams]:
    return [sample_params(policy, 1, 2, keys, view, shape=shapes) for view, policy in enumerate(POLICIES)]


@pytest.fixture
def views() -> Iterator[DaliJpegViews]:
    built = DaliJpegViews(POLICIES, len(FILES))
    yield built
    built.close()


def test_views_of_files_of_any_shape_are_those_of_their_pixels(views: DaliJpegViews) -> None:
    assert jpeg_shapes(FILES).tolist() == [list(shape) for shape in SHAPES]
    both = views.render(FILES, drawn(jpeg_shapes(FILES)))
    for view, policy in enumerate(POLICIES):
        assert both[view].shape == (len(FILES), 3, 64, 64)
        for i, file in enumerate(FILES):
            pixels = decode_rgb(file, "file")
            alone = sample_params(policy, 1, 2, KEYS[i : i + 1], view, shape=pixels.shape[:2])
            expected = TorchViews(policy).render(pixels[None], alone)[0]
            assert (both[view][i] - expected).abs().max() * 63.75 < 0.05


@pytest.mark.parametrize("turn", range(1, 9))
def test_files_are_turned_as_their_orientation_says(views: DaliJpegViews, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    file = io.BytesIO()
    Image.open(io.BytesIO(FILES[0])).save(file, "JPEG", quality=90, exif=exif)
    pixels = decode_rgb(file.getvalue(), "file")
    assert jpeg_shapes([file.getvalue()]).tolist() == [list(pixels.shape[:2])]
    params = [
        sample_params(policy, 1, 2, KEYS[:1], view, shape=pixels.shape[:2])
        for view, policy in enumerate(POLICIES)
    ]
    both = views.render([file.getvalue()], drawn(jpeg_shapes([file.getvalue()]), KEYS[:1]))
    for one, policy, drawn_here in zip(both, POLICIES, params, strict=True):
        expected = TorchViews(policy).render(pixels[None], drawn_here)[0]
        assert (one[0] - expected).abs().max() * 63.75 < 0.05


def test_a_shape_per_image_draws_what_that_shape_alone_draws() -> None:
    for name in ("simclr", "evaluation"):
        (policy,) = named_policy(name, 64)
        shapes = np.array(SHAPES)
        together = sample_params(policy, 0, 0, KEYS, 0, shape=shapes)
        for i, shape in enumerate(SHAPES):
            alone = sample_params(policy, 0, 0, KEYS[i : i + 1], 0, shape=shape)
            part = together.take(slice(i, i + 1))
            assert np.array_equal(part.shape, [shape])
            for side in ("top", "left", "height", "width", "flip", "sigma"):
                assert np.array_equal(getattr(part, side), getattr(alone, side)), (name, shape, side)


def test_parameters_for_other_files_are_refused(views: DaliJpegViews) -> None:
    with pytest.raises(DataError, match="drawn with shape=jpeg_shapes"):
        views.render(FILES[::-1], drawn(jpeg_shapes(FILES)))
    with pytest.raises(DataError, match="0 files; give 1 to 6"):
        views.render([], drawn(jpeg_shapes([]), KEYS[:0]))
    with pytest.raises(DataError, match="different shapes"):
        pixels = np.zeros((len(FILES), 64, 64, 3), dtype=np.uint8)
        TorchViews(POLICIES[0]).render(pixels, drawn(jpeg_shapes(FILES))[0])
    views.close()
    with pytest.raises(DataError, match="closed"):
        views.render(FILES, drawn(jpeg_shapes(FILES)))


@pytest.mark.parametrize("mode", ["exact", "affine"])
def test_definition_for_the_gpu_is_legal_and_decodes_there(mode: str) -> None:
    pipeline = jpeg_pipeline(named_policy("byol", 224, mode), 8, "gpu")  # type: ignore[arg-type]
    pipeline._build_graph()  # the graph alone: building the pipeline would need the device
    on_gpu = [op for op in pipeline._ops if any(out.device == "gpu" for out in op.outputs)]
    names = [op._op.schema_name for op in on_gpu]
    assert [(op._op.schema_name, op._op.device) for op in on_gpu if "decoders" in op._op.schema_name] == [
        ("decoders__Image", "mixed")  # one for both views
    ]
    assert {name for name in names if "decoders" not in name} <= set(RegisteredGPUOps())
    assert [out.device for out in pipeline._graph_outputs] == ["gpu", "gpu"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is absent")
def test_an_absent_gpu_is_named() -> None:
    with pytest.raises(DataError, match="torch sees none"):
        DaliJpegViews(POLICIES, 4, device="gpu")
