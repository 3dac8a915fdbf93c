"""Views by NVIDIA DALI, with the parameters and semantics of ``torch_views``; on a GPU, or a CPU for tests.

All randomness comes in as data. DALI's own random operators, its ``color_twist`` (hue in YIQ, contrast about
a fixed grey, a fixed order) and its reader's windowed shuffling would be different augmentations and are not
used. Importing DALI takes seconds: import this module only to use it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.jitter import LUMA, color_affine, hue_step, jitter_steps
from ssl_sweep.data_ops.views.policy import HUE, ViewParams, ViewPolicy
from ssl_sweep.data_ops.views.torch_device import gpu_index, to_device
from ssl_sweep.data_ops.views.torch_views import check_images

try:
    from nvidia.dali import Pipeline, fn, math, pipeline_def, types
except ImportError as error:
    raise DataError(
        "view back end 'dali' needs NVIDIA DALI, which is not installed; install nvidia-dali-cuda130 "
        "(Linux only) or use the back end 'torch'"
    ) from error

Device = Literal["cpu", "gpu"]
_GRAY = [float(c) for c in LUMA]


class DaliViews:
    """Renders views of at most ``batch`` images at a time on one device.

    Results are on that device and agree with ``TorchViews`` of the same policy to 0.02 grey levels. Create it
    in the process that uses it, because a pipeline does not survive a fork, and close it at the end.
    """

    def __init__(self, policy: ViewPolicy, batch: int, device: Device = "cpu", threads: int = 1) -> None:
        """Build the pipeline with this many CPU threads.

        Raises:
            DataError: The device is "gpu" but there is no GPU, or a number is below 1.
        """
        if device == "gpu" and not torch.cuda.is_available():
            raise DataError("view back end 'dali' needs a GPU here, but torch sees none; use device 'cpu'")
        if batch < 1 or threads < 1:
            raise DataError(f"views: batch is {batch} and threads is {threads}; use 1 or more")
        self.policy = policy
        self.device = torch.device("cuda", gpu_index()) if device == "gpu" else torch.device("cpu")
        self.name = f"dali-{device}-{policy.mode}"
        self._batch = batch
        self._pipeline: Pipeline | None = view_pipeline(policy, batch, device, threads)
        self._pipeline.build()

    def render(self, images: npt.NDArray[np.uint8] | torch.Tensor, params: ViewParams) -> torch.Tensor:
        """One view of each image (n, H, W, 3): float32 (n, 3, S, S), scaled by (x / 255 - 0.5) / 0.25.

        Images on the device already are not copied there again.
        """
        check_images(images, params)
        if self._pipeline is None:
            raise DataError("views: this DALI back end was closed; create a new one")
        slices = [slice(i, i + self._batch) for i in range(0, len(images), self._batch)]
        parts = [self._run(self._pipeline, images[s], params.take(s)) for s in slices]
        if not parts:
            return torch.empty((0, 3, self.policy.size, self.policy.size))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def close(self) -> None:
        """Free the pipeline, its threads and memory. DALI may crash if the interpreter's exit does this."""
        self._pipeline = None

    def _run(
        self, pipeline: Pipeline, images: npt.NDArray[np.uint8] | torch.Tensor, params: ViewParams
    ) -> torch.Tensor:
        pixels = images if isinstance(images, torch.Tensor) else to_device(images, self.device)
        pixels = pixels.contiguous()
        # of a tensor DALI asks torch for its stream, which a CPU does not have
        pipeline.feed_input("images", pixels if pixels.is_cuda else pixels.numpy(), layout="HWC")
        for name, values in view_inputs(self.policy, params).items():
            pipeline.feed_input(name, values)
        (views,) = pipeline.run()
        return torch.utils.dlpack.from_dlpack(views.as_tensor())


def view_pipeline(policy: ViewPolicy, batch: int, device: Device, threads: int = 1) -> Pipeline:
    """The pipeline before it is built. Defining it for "gpu" checks all arguments but does not need a GPU.

    One definition serves both devices. On a GPU two rules hold: named arguments are CPU nodes, so terms
    computed from the image can only enter by arithmetic; and arrays are combined with GPU nodes by operators,
    not by arithmetic.
    """
    define = pipeline_def(
        batch_size=batch,
        num_threads=threads,
        device_id=gpu_index() if device == "gpu" else None,
        prefetch_queue_depth=1,  # the loader's thread runs ahead, not the pipeline
        enable_conditionals=True,
    )(_graph)
    return define(policy, device)


def _graph(policy: ViewPolicy, device: Device) -> Any:
    return view_graph(fn.external_source(name="images", layout="HWC", device=device), policy, device)


def view_graph(x: Any, policy: ViewPolicy, device: Device, view: str = "") -> Any:
    """The graph of one view of the images x (HWC, on the device). The names of its inputs end in ``view``."""
    start, shape, flip = _given("start", view), _given("shape", view), _given("flip", view)
    margin, down, across = _given("margin", view), _given("down", view), _given("across", view)
    if device == "gpu":
        down, across = down.gpu(), across.gpu()
    # Outside the image, DALI's resize repeats the edge and torch gives no weight: let DALI read zeros there,
    # then divide by the weight of the inside.
    x = fn.slice(x, start=start, shape=shape, axes=(0, 1))
    x = fn.slice(x, start=-margin, shape=shape + 2 * margin, axes=(0, 1), out_of_bounds_policy="pad")
    x = fn.resize(
        x,
        size=[policy.size, policy.size],
        roi_start=fn.cast(margin, dtype=types.FLOAT),
        roi_end=fn.cast(margin + shape, dtype=types.FLOAT),
        interp_type=types.INTERP_LINEAR,
        antialias=True,
        dtype=types.FLOAT,
    )
    x = x * down * across
    x = _jitter_exact(x, view) if policy.mode == "exact" else _jitter_affine(x, view)
    if policy.blur > 0:
        blur, sigma = _given("blur", view), _given("sigma", view)
        if blur:
            x = fn.gaussian_blur(x, sigma=sigma, window_size=policy.blur_kernel)
    if policy.solarize > 0:
        solarize = _given("solarize", view)
        if solarize:
            x = 127.5 - math.abs(x - 127.5)
    return fn.crop_mirror_normalize(  # flipping commutes with everything before it
        fn.reinterpret(x, layout="HWC"),
        mirror=flip,
        mean=[127.5],
        std=[63.75],
        dtype=types.FLOAT,
        output_layout="CHW",
    )


def _given(name: str, view: str) -> Any:
    return fn.external_source(name=f"{name}{view}")


def _jitter_exact(x: Any, view: str) -> Any:
    steps, turns = _given("steps", view), _given("turns", view)
    hue_at, gray = _given("hue_at", view), _given("gray", view)
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
    """HSV hue in closed form; see ``torch_color.shift_hue_``."""
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


def _jitter_affine(x: Any, view: str) -> Any:
    on_pixel, on_mean = _given("on_pixel", view), _given("on_mean", view)
    mean = fn.reductions.mean(x, axes=(0, 1), keep_dims=True)
    x = fn.coord_transform(x, M=on_pixel) + fn.coord_transform(mean, M=on_mean)
    return math.clamp(x, 0.0, 255.0)


def view_inputs(policy: ViewPolicy, params: ViewParams, view: str = "") -> dict[str, npt.NDArray[Any]]:
    """The input arrays of ``view_graph`` by name, with one row per image."""
    shape = np.stack([params.height, params.width], axis=1).astype(np.int32)
    inputs: dict[str, npt.NDArray[Any]] = {
        "start": np.stack([params.top, params.left], axis=1).astype(np.int32),
        "shape": shape,
        "flip": params.flip.astype(np.int32),
        "margin": -(-shape // policy.size) + 1,
        "down": _rim(params.height, policy.size)[:, :, None, None],
        "across": _rim(params.width, policy.size)[:, None, :, None],
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
    if policy.solarize > 0:
        inputs["solarize"] = params.solarize
    return {f"{name}{view}": values for name, values in inputs.items()}


def _rim(length: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float32]:
    """(n, size), per pixel of a resized axis: 1 / (share of the triangle filter's weight in the crop)."""
    scale = length[:, None] / size
    centre = scale * (np.arange(size) + 0.5)
    # enlarged: two stored pixels make one; if the outer one is outside, its weight is missing
    inside = np.minimum(1.0, 0.5 + np.minimum(centre, length[:, None] - centre))
    shrunk = scale[:, 0] > 1
    if shrunk.any():  # only the first and the last pixel reach outside, and equally far
        wide = scale[shrunk]
        stored = np.arange(-np.ceil(wide.max()) - 1, 2 * np.ceil(wide.max()) + 1) + 0.5
        weight = np.maximum(0.0, 1.0 - np.abs(stored - wide / 2) / wide)
        inside[shrunk] = 1.0
        share = (weight * (stored > 0)).sum(axis=1) / weight.sum(axis=1)
        inside[shrunk, 0] = inside[shrunk, -1] = share
    return (1.0 / inside).astype(np.float32)
