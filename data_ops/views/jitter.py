"""The colour jitter in the two forms that the back ends compute: step by step, or one affine map per image.

Brightness, contrast about the mean luma, saturation, grayscale and a hue that rotates about the grey axis are
linear in the pixel x and the image's mean colour m. So a whole jitter, in any order, is y = M x + K m. Mode
"affine" has neither the clipping between operations nor the HSV hue of mode "exact".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.views.policy import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION, ViewParams

Float32 = npt.NDArray[np.float32]
LUMA = np.array([0.2989, 0.587, 0.114])  # ITU-R 601-2 as torchvision rounds it
_GRAY = np.tile(LUMA, (3, 1))  # colour -> its luma in every channel


def jitter_steps(params: ViewParams) -> Float32:
    """float32 (n, 4, 3): for each step of an image's jitter the factor and the weights of luma and mean luma.

    Brightness, contrast and saturation are f x + (1 - f) g; here g is 0, the image's mean luma or the pixel's
    luma. One formula with the other weights at 0 is faster than collecting the images of each operation.
    """
    operation = ORDERS[params.order]
    factor = np.take_along_axis(params.factors, operation.astype(np.int64), axis=1)
    rest = 1 - factor
    steps = [factor, rest * (operation == SATURATION), rest * (operation == CONTRAST)]
    return np.stack(steps, axis=-1).astype(np.float32)


def hue_step(params: ViewParams) -> npt.NDArray[np.int64]:
    """(n,) the step, 0 to 3, of the jitter that shifts an image's hue; -1 if there is no jitter."""
    return np.where(params.jitter, np.argmax(ORDERS[params.order] == HUE, axis=1), -1)


def color_affine(params: ViewParams) -> tuple[Float32, Float32]:
    """Matrices M, K (n, 3, 3): colour jitter and grayscale of each image are M x + K mean(x)."""
    n = len(params)
    factors = params.factors.astype(np.float64)
    linear = np.tile(np.eye(3), (n, 4, 1, 1))  # the matrix of each operation on the pixel
    linear[:, BRIGHTNESS] *= factors[:, BRIGHTNESS, None, None]
    linear[:, CONTRAST] *= factors[:, CONTRAST, None, None]
    saturation = factors[:, SATURATION, None, None]
    linear[:, SATURATION] = saturation * np.eye(3) + (1 - saturation) * _GRAY
    linear[:, HUE] = _hue_rotation(factors[:, HUE])

    on_pixel, on_mean = np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3, 3))
    images = np.arange(n)
    for step in range(4):
        operation = ORDERS[params.order, step]
        matrix = linear[images, operation]
        pull = np.where(operation == CONTRAST, 1 - factors[:, CONTRAST], 0.0)[:, None, None]
        on_mean = matrix @ on_mean + pull * (_GRAY @ (on_pixel + on_mean))
        on_pixel = matrix @ on_pixel
    gray = params.grayscale[:, None, None]
    on_pixel = np.where(gray, _GRAY @ on_pixel, on_pixel)
    on_mean = np.where(gray, _GRAY @ on_mean, on_mean)
    return on_pixel.astype(np.float32), on_mean.astype(np.float32)


def _hue_rotation(turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation about the axis (1, 1, 1), by Rodrigues' formula. Positive turns take red towards green."""
    cos = np.cos(2 * np.pi * turns)[:, None, None]
    sin = np.sin(2 * np.pi * turns)[:, None, None]
    cross = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return np.asarray(cos * np.eye(3) + (1 - cos) / 3 + sin / np.sqrt(3) * cross)
