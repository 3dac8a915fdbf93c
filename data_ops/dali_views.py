"""Views by NVIDIA DALI: the same parameters and semantics as `torch_views`, on a GPU or, to test it, on CPU.

All randomness comes in as data: DALI's own random operators, its `color_twist` (hue in YIQ, contrast about a
fixed grey, a fixed order) and its reader's windowed shuffling are other augmentations and are not used.
Importing DALI takes seconds; import this module only to use it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from data_ops.errors import DataError
from data_ops.jitter import LUMA, color_affine, hue_step, jitter_steps
from data_ops.torch_views import check_images
from data_ops.views import HUE, ViewParams, ViewPolicy

try:
    from nvidia.dali import Pipeline, fn, math, pipeline_def, types
except ImportError as error:
    raise DataError(
        "view back end 'dali' needs NVIDIA DALI, which is not installed here; install nvidia-dali-cuda130 "
        "(Linux only) or use the back end 'torch'"
    ) from error

Device = Literal["cpu", "gpu"]
_GRAY = [float(c) for c in LUMA]


class DaliViews:
    """Renders views of at most `batch` images at a time on one device; `threads` are DALI's CPU threads.

    Results are on that device and agree with `TorchViews` of the same policy to 0.01 grey levels; only where
    a crop is shrunk do they differ more, at the rim, where DALI repeats the edge and torch leaves it out.
    Build it in the process that uses it (a pipeline does not survive a fork) and close it when done. Raises
    DataError where the device is "gpu" and there is none.
    """

    def __init__(self, policy: ViewPolicy, batch: int, device: Device = "cpu", threads: int = 1) -> None:
        if device == "gpu" and not torch.cuda.is_available():
            raise DataError(
                "view back end 'dali' was asked to use the GPU, but torch sees none; use device 'cpu'"
            )
        if batch < 1 or threads < 1:
            raise DataError(f"views: batch is {batch} and threads is {threads}; use 1 or more")
        self.policy = policy
        self.name = f"dali-{device}-{policy.mode}"
        self._batch = batch
        self._pipeline: Pipeline | None = view_pipeline(policy, batch, device, threads)
        self._pipeline.build()

    def render(self, images: npt.NDArray[np.uint8], params: ViewParams) -> torch.Tensor:
        """One view of each image (n, H, W, 3): float32 (n, 3, S, S), scaled by (x / 255 - 0.5) / 0.25."""
        check_images(images, params)
        if self._pipeline is None:
            raise DataError("views: this DALI back end was closed; build a new one")
        slices = [slice(i, i + self._batch) for i in range(0, len(images), self._batch)]
        parts = [self._run(self._pipeline, images[s], params.take(s)) for s in slices]
        if not parts:
            return torch.empty((0, 3, self.policy.size, self.policy.size))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def close(self) -> None:
        """Free the pipeline, its threads and memory; DALI may crash if the interpreter's end has to do it."""
        self._pipeline = None

    def _run(self, pipeline: Pipeline, images: npt.NDArray[np.uint8], params: ViewParams) -> torch.Tensor:
        pipeline.feed_input("images", np.ascontiguousarray(images), layout="HWC")
        for name, values in _inputs(self.policy, params).items():
            pipeline.feed_input(name, values)
        (views,) = pipeline.run()
        return torch.utils.dlpack.from_dlpack(views.as_tensor())


def view_pipeline(policy: ViewPolicy, batch: int, device: Device, threads: int = 1) -> Pipeline:
    """The pipeline, not yet built: its definition for "gpu" needs no GPU and checks all operators' arguments.

    One definition serves both devices. What it must obey to be legal on a GPU: named arguments are CPU nodes,
    so terms computed from the image enter by arithmetic only; arrays meet GPU nodes through operators, not
    arithmetic.
    """
    define = pipeline_def(
        batch_size=batch,
        num_threads=threads,
        device_id=0 if device == "gpu" else None,
        prefetch_queue_depth=1,  # the loader's thread runs ahead, not the pipeline
        enable_conditionals=True,
    )(_graph)
    return define(policy, device)


def _graph(policy: ViewPolicy, device: Device) -> Any:
    x = fn.external_source(name="images", layout="HWC")
    start, shape, flip = (fn.external_source(name=name) for name in ("start", "shape", "flip"))
    if device == "gpu":
        x = x.gpu()
    # slice, then resize: resize's own region of interest reads pixels beyond the edge of the crop
    x = fn.slice(x, start=start, shape=shape, axes=(0, 1))
    size = [policy.size, policy.size]
    x = fn.resize(x, size=size, interp_type=types.INTERP_LINEAR, antialias=True, dtype=types.FLOAT)
    x = _jitter_exact(x) if policy.mode == "exact" else _jitter_affine(x)
    if policy.blur > 0:
        blur, sigma = fn.external_source(name="blur"), fn.external_source(name="sigma")
        if blur:
            x = fn.gaussian_blur(x, sigma=sigma, window_size=policy.blur_kernel)
    return fn.crop_mirror_normalize(  # flipping commutes with all that comes before
        fn.reinterpret(x, layout="HWC"),
        mirror=flip,
        mean=[127.5],
        std=[63.75],
        dtype=types.FLOAT,
        output_layout="CHW",
    )


def _jitter_exact(x: Any) -> Any:
    steps, turns = fn.external_source(name="steps"), fn.external_source(name="turns")
    hue_at, gray = fn.external_source(name="hue_at"), fn.external_source(name="gray")
    if hue_at >= 0:
        for step in range(4):
            if hue_at == step:
                x = _shift_hue(x, turns)
            else:
                x = _blend(x, steps[step, 0], steps[step, 1], steps[step, 2])
    if gray:
        x = fn.coord_transform(x, M=_GRAY * 3)
    return x


def _blend(x: Any, factor: Any, to_luma: Any, to_mean: Any) -> Any:
    luma = fn.coord_transform(x, M=_GRAY)
    mean = fn.reductions.mean(luma, axes=(0, 1), keep_dims=True)
    return math.clamp(x * factor + luma * to_luma + mean * to_mean, 0.0, 255.0)


def _shift_hue(x: Any, turns: Any) -> Any:
    """HSV hue in closed form; see `torch_color.shift_hue_`."""
    value = fn.reductions.max(x, axes=2, keep_dims=True)
    least = fn.reductions.min(x, axes=2, keep_dims=True)
    side = fn.coord_transform(x, M=[0.0, 1.0, -1.0])
    chroma = value - least
    hue = fn.coord_transform(x, M=[-1.0, 1.0, 1.0]) + chroma - least
    sign = fn.cast(side >= 0.0, dtype=types.FLOAT) * 2.0 - 1.0
    hue = hue * sign / math.max(chroma * 6.0, 1e-20) + turns
    hue = hue - math.floor(hue + 0.5)
    distance = math.abs(fn.coord_transform(hue, M=[1.0, 1.0, 1.0], T=[1 / 2, 1 / 6, -1 / 6]))
    distance = math.clamp(math.min(distance, 1.0 - distance), 1 / 6, 1 / 3)
    return value - chroma * 2.0 + chroma * 6.0 * distance


def _jitter_affine(x: Any) -> Any:
    on_pixel, on_mean = fn.external_source(name="on_pixel"), fn.external_source(name="on_mean")
    mean = fn.reductions.mean(x, axes=(0, 1), keep_dims=True)
    x = fn.coord_transform(x, M=on_pixel) + fn.coord_transform(mean, M=on_mean)
    return math.clamp(x, 0.0, 255.0)


def _inputs(policy: ViewPolicy, params: ViewParams) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the pipeline's external sources by name, one row per image."""
    inputs: dict[str, npt.NDArray[Any]] = {
        "start": np.stack([params.top, params.left], axis=1).astype(np.int32),
        "shape": np.stack([params.height, params.width], axis=1).astype(np.int32),
        "flip": params.flip.astype(np.int32),
    }
    if policy.mode == "exact":
        inputs["steps"] = jitter_steps(params)
        inputs["turns"] = np.ascontiguousarray(params.factors[:, HUE])
        inputs["hue_at"] = hue_step(params).astype(np.int32)
        inputs["gray"] = params.grayscale
    else:
        inputs["on_pixel"], inputs["on_mean"] = color_affine(params)
    if policy.blur > 0:
        inputs["blur"] = params.blur
        inputs["sigma"] = params.sigma
    return inputs
