"""Views by torch operations on whole batches, on any device: the torch back end of a GPU.

The parameters, the formulas and their order are those of ``torch_views``. A CPU is faster with that module's
small chunks; a GPU is faster with few large operations, and never waits here for a result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.views.jitter import color_affine, hue_step, jitter_steps
from ssl_sweep.data_ops.views.policy import ViewParams, ViewPolicy
from ssl_sweep.data_ops.views.torch_color import affine, blend_, luma, shift_hue_
from ssl_sweep.data_ops.views.torch_geometry import Axis, axis, blur_taps, products
from ssl_sweep.data_ops.views.torch_views import OFFSET, SCALE, check_images

_MOST_FLOATS = 2**26  # of the views that are computed together; several times as much memory is in use


class TorchDeviceViews:
    """Renders views of one policy on ``device``.

    They agree with ``TorchViews`` to 0.01 grey levels.
    """

    def __init__(self, policy: ViewPolicy, device: torch.device) -> None:
        self.policy, self.device = policy, device
        self.name = f"torch-{device.type}-{policy.mode}"
        self._most = max(1, _MOST_FLOATS // (3 * policy.size**2))
        self._spread = _reflected(policy.size, policy.blur_kernel).to(device) if policy.blur > 0 else None

    def render(self, images: npt.NDArray[np.uint8] | torch.Tensor, params: ViewParams) -> torch.Tensor:
        """One view of each image (n, H, W, 3): float32 (n, 3, S, S), scaled by (x / 255 - 0.5) / 0.25.

        Args:
            images: On the device already, or copied there.
            params: What to do to each of them.

        Raises:
            DataError: The parameters were drawn for a different number of images, or for a different shape.
        """
        check_images(images, params)
        pixels = images if isinstance(images, torch.Tensor) else to_device(images, self.device)
        size = self.policy.size
        out = torch.empty((len(pixels), 3, size, size), device=self.device)
        kind = "cuda" if self.device.type == "cuda" else "cpu"
        with torch.no_grad(), torch.autocast(kind, enabled=False):  # pixels need float32
            for start in range(0, len(pixels), self._most):
                part = slice(start, start + self._most)
                self._render(pixels[part], params.take(part), out[part])
        return out

    def close(self) -> None:
        """Nothing to free."""

    def _render(self, images: torch.Tensor, params: ViewParams, out: torch.Tensor) -> None:
        """Images whose hue shifts at the same step lie together, so that slices take the place of masks."""
        hues = hue_step(params) if self.policy.mode == "exact" else np.zeros(len(params), dtype=np.int64)
        order = np.argsort(hues, kind="stable")
        params, hues = params.take(order), hues[order]
        places = to_device(order, self.device)
        given = self._upload(params)
        down = Axis(given["top"], given["height"], given["down"], given["rows"])
        across = Axis(given["left"], given["width"], given["across"], given["columns"])
        x = products(images[places], down, across)
        if self.policy.mode == "exact":
            _jitter_exact_(x, given["steps"].view(-1, 4, 3, 1, 1), np.searchsorted(hues, np.arange(5)))
            x = torch.where(given["gray"][:, :, None, None] > 0, luma(x)[:, None], x)
        else:
            x = affine(x, given["on_pixel"].view(-1, 3, 3), given["on_mean"].view(-1, 3, 3))
        x.mul_(SCALE).sub_(OFFSET)
        if self._spread is not None:
            self._blur_(x, params)
        if self.policy.solarize > 0:
            # 255 - x from 127.5 up is -x in these units; it is continuous, so rounding cannot show
            x = torch.where(given["solarize"][:, :, None, None] > 0, -x.abs(), x)
        out.index_copy_(0, places, x)

    def _upload(self, params: ViewParams) -> dict[str, torch.Tensor]:
        """All parameters by name, (n, columns) each, in one copy."""
        size, upright = self.policy.size, np.zeros(len(params), dtype=bool)
        top, height, down, rows = axis(params.top, params.height, upright, size)
        left, width, across, columns = axis(params.left, params.width, params.flip, size)
        arrays = {"top": top, "height": height, "down": down, "rows": rows}
        arrays |= {"left": left, "width": width, "across": across, "columns": columns}
        arrays["solarize"] = params.solarize.astype(np.float32)
        if self.policy.mode == "exact":
            arrays |= {"steps": jitter_steps(params), "gray": params.grayscale.astype(np.float32)}
        else:
            arrays["on_pixel"], arrays["on_mean"] = color_affine(params)
        flat = [array.reshape(len(params), -1) for array in arrays.values()]
        table = to_device(np.concatenate(flat, axis=1), self.device)
        parts = table.split([array.shape[1] for array in flat], dim=1)
        return dict(zip(arrays, parts, strict=True))

    def _blur_(self, x: torch.Tensor, params: ViewParams) -> None:
        """Two products with banded matrices (m, S, S), which mirror at the edges."""
        chosen = np.flatnonzero(params.blur)
        if not len(chosen) or self._spread is None:
            return
        m, size = len(chosen), self.policy.size
        taps = to_device(blur_taps(params.sigma[chosen], self.policy.blur_kernel), self.device)
        index = to_device(chosen, self.device)
        band = (taps @ self._spread).view(m, size, size).transpose(1, 2)
        y = torch.bmm(x[index].view(m, 3 * size, size), band).view(m, 3, size, size).transpose(2, 3)
        y = torch.bmm(y.reshape(m, 3 * size, size), band).view(m, 3, size, size).transpose(2, 3)
        x.index_copy_(0, index, y.contiguous())


def gpu_index() -> int:
    """Index of the current CUDA device; 0 if there is no GPU, so that something can be defined for one."""
    return torch.cuda.current_device() if torch.cuda.is_available() else 0


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """A copy of ``array`` on the device (on a CPU the array itself). The caller does not wait for a GPU."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _jitter_exact_(x: torch.Tensor, weights: torch.Tensor, begins: npt.NDArray[np.intp]) -> None:
    """ColorJitter in place, with weights (n, 4, 3, 1, 1).

    From row ``begins[k]`` on, the hue shifts at step k; before row ``begins[0]`` there is no jitter.
    """
    for step in range(4):
        first, last = int(begins[step]), int(begins[step + 1])
        if first < last:
            shift_hue_(x[first:last], weights[first:last, step, 0])
        for blended in (slice(int(begins[0]), first), slice(last, len(x))):
            if blended.start < blended.stop:
                blend_(x[blended], *weights[blended, step].unbind(1))


def _reflected(size: int, kernel: int) -> torch.Tensor:
    """(kernel, size · size): to which stored pixel each tap of each pixel goes, mirrored at the edges."""
    radius = kernel // 2
    pixel, tap = np.arange(size)[None], np.arange(-radius, radius + 1)[:, None]
    source = np.abs(pixel + tap)
    source = np.where(source >= size, 2 * (size - 1) - source, source)
    spread = np.zeros((kernel, size, size), dtype=np.float32)
    spread[np.arange(kernel)[:, None], pixel, source] = 1.0
    return torch.from_numpy(spread.reshape(kernel, -1))
