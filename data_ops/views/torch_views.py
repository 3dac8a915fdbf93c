"""Views by vectorised torch operations on a CPU: this back end runs everywhere and matches torchvision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.jitter import hue_step, jitter_steps
from ssl_sweep.data_ops.views.policy import ViewParams, ViewPolicy
from ssl_sweep.data_ops.views.torch_color import grayscale_, jitter_affine, jitter_exact_
from ssl_sweep.data_ops.views.torch_geometry import crop_resize, gaussian_blur

# (x / 255 - 0.5) / 0.25 for all domains: statistics per domain would be a hidden axis of the study
SCALE, OFFSET = 4.0 / 255.0, 2.0
_BLUR_BLOCK = 5  # images: torch's depthwise convolution takes as long for one channel as for 16
_CHUNK_FLOATS = 64 * 3 * 32 * 32  # computed together, so that intermediate results stay in the L2 cache


def pixels_to_input(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (n, H, W, 3) -> float32 (n, 3, H, W), normalised as views are: (x / 255 - 0.5) / 0.25."""
    planes = np.ascontiguousarray(np.moveaxis(images, 3, 1))
    return torch.from_numpy(planes).float().mul_(SCALE).sub_(OFFSET)


class TorchViews:
    """Renders views of one policy on a CPU.

    Python threads share a batch. The number of torch's own threads stays as the caller set it: 1 is best,
    because the operations are so small that more threads only wait for each other.
    """

    def __init__(self, policy: ViewPolicy, threads: int = 1) -> None:
        """Start the threads.

        Raises:
            DataError: ``threads`` is below 1.
        """
        if threads < 1:
            raise DataError(f"views: threads is {threads}; use 1 or more")
        self.policy = policy
        self.device = torch.device("cpu")
        self.name = f"torch-{policy.mode}"
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "views") if threads > 1 else None

    def render(self, images: npt.NDArray[np.uint8] | torch.Tensor, params: ViewParams) -> torch.Tensor:
        """One view of each image (n, H, W, 3): float32 (n, 3, S, S), scaled as by ``pixels_to_input``.

        A view is the same, bit for bit, in any batch and with any number of threads.

        Raises:
            DataError: The parameters were drawn for a different number of images, or for a different shape.
        """
        check_images(images, params)
        images = images.numpy() if isinstance(images, torch.Tensor) else images
        size = self.policy.size
        out = np.empty((len(images), 3, size, size), dtype=np.float32)
        chunks = self._chunks(params)
        shares = [chunks[i :: self._threads] for i in range(self._threads)]
        if self._pool is None:
            self._render(images, params, chunks, out)
        else:
            others = [self._pool.submit(self._render, images, params, share, out) for share in shares[1:]]
            self._render(images, params, shares[0], out)
            for other in others:
                other.result()
        return torch.from_numpy(out)

    def close(self) -> None:
        """End the threads. Nothing can be rendered afterwards."""
        if self._pool is not None:
            self._pool.shutdown()

    def _chunks(self, params: ViewParams) -> list[npt.NDArray[np.int64]]:
        """Indices of images to compute together: their hue shifts at one step, and they fit in the cache."""
        steps = hue_step(params) if self.policy.mode == "exact" else np.zeros(len(params), dtype=np.int64)
        order = np.lexsort((params.order, steps))
        groups = np.split(order, np.flatnonzero(np.diff(steps[order])) + 1)
        most = max(1, _CHUNK_FLOATS // (3 * self.policy.size**2))
        return [part for group in groups if len(group) for part in _split(group, most)]

    def _render(
        self,
        images: npt.NDArray[np.uint8],
        params: ViewParams,
        chunks: list[npt.NDArray[np.int64]],
        out: npt.NDArray[np.float32],
    ) -> None:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):  # pixels need float32
            for index in chunks:
                x = self._colored_crops(images[index], params.take(index))
                out[index] = x.mul_(SCALE).sub_(OFFSET).numpy()
            blurred = np.concatenate(
                [index[params.blur[index]] for index in chunks] or [np.zeros(0, np.int64)]
            )
            for index in _split(blurred, _BLUR_BLOCK):  # the normalisation commutes with a blur of weight 1
                x = torch.from_numpy(out[index])
                out[index] = gaussian_blur(x, params.sigma[index], self.policy.blur_kernel).numpy()
            for index in chunks:
                for i in index[params.solarize[index]].tolist():
                    # 255 - x from 127.5 up is -x in these units; it is continuous, so rounding cannot show
                    np.negative(np.abs(out[i], out=out[i]), out=out[i])

    def _colored_crops(self, images: npt.NDArray[np.uint8], params: ViewParams) -> torch.Tensor:
        x = crop_resize(images, params, self.policy.size)
        if self.policy.mode == "affine":
            return jitter_affine(x, params)
        if params.jitter[0]:
            jitter_exact_(x, jitter_steps(params), int(hue_step(params)[0]))
        grayscale_(x, params.grayscale)
        return x


def _split(index: npt.NDArray[np.int64], most: int) -> list[npt.NDArray[np.int64]]:
    return [index[i : i + most] for i in range(0, len(index), most)]


def check_images(images: npt.NDArray[np.uint8] | torch.Tensor, params: ViewParams) -> None:
    """Check that parameters and images match.

    Raises:
        DataError: ``params`` were drawn for a different number of images, or for a different shape.
    """
    if not isinstance(params.shape, tuple):
        raise DataError(
            "views: these parameters are for images of different shapes, but an array has one shape; "
            "draw them with one shape"
        )
    expected = (len(params), *params.shape, 3)
    if images.shape != expected or images.dtype not in (np.uint8, torch.uint8):
        raise DataError(
            f"views: images are {images.dtype} {images.shape}, but the parameters are for uint8 {expected}; "
            "draw them with sample_params(..., shape=(height, width)) of these images"
        )
