"""Procedural image domains with a label hierarchy: the data of the quickstart and of tests.

Classes differ only by shape and texture. Colour, brightness, contrast, polarity, position, scale, mirroring,
lighting and noise are drawn independently of the class. So the mean colour does not give the class away, and
SimCLR's invariances help. Tints and lighting are weak, because they also distinguish images of one class.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.data_ops.synthetic import landcover, objects, organisms, scenes
from ssl_sweep.data_ops.synthetic.canvas import Canvas, Domain, Field

VERSION = "1"  # raise it when any pixel changes
MAX_IMAGES = 1 << 40  # training images have indices below it, test images from it on
DOMAINS: dict[str, Domain] = {
    module.DOMAIN.name: module.DOMAIN for module in (objects, organisms, scenes, landcover)
}
_CHUNK = 64  # images drawn together, so that their fields stay in the processor's cache
_NOISE = 1 << 16  # values in the table of noise


def domain_named(name: str) -> Domain:
    """The domain of this name.

    Raises:
        DataError: There is no such domain; the message has the nearest name.
    """
    if name not in DOMAINS:
        raise DataError(
            f"no synthetic domain {name!r}{nearest(name, DOMAINS)}; use one of {', '.join(DOMAINS)}"
        )
    return DOMAINS[name]


def labels(domain: str, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """(n,) the fine class of each image: classes take turns."""
    return np.asarray(indices, dtype=np.int64) % len(domain_named(domain).lineage)


def render(domain: str, indices: npt.ArrayLike, seed: int, size: int = 32) -> npt.NDArray[np.uint8]:
    """(n, size, size, 3) uint8 RGB. Each image is a pure function of (domain, index, seed, size).

    Raises:
        DataError: The domain is unknown.
    """
    kind = domain_named(domain)
    wanted = np.asarray(indices, dtype=np.int64)
    classes = labels(domain, wanted)
    images = np.empty((len(wanted), size, size, 3), dtype=np.uint8)
    for fine in np.unique(classes):
        positions = np.flatnonzero(classes == fine)
        for chunk in np.split(positions, range(_CHUNK, len(positions), _CHUNK)):
            canvas = Canvas(derive_seed("synthetic", domain, seed), wanted[chunk], size)
            images[chunk] = _colour(canvas, kind.paint(canvas, int(fine)), hash64(seed, wanted[chunk]))
    return images


def _colour(canvas: Canvas, ink: Field, noise_at: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Ink to RGB: two random colours, light and dark swapped in one of six images, slanting light, noise."""
    contrast = canvas.draw(0.35, 0.6) * (1 - 2 * (canvas.draw(0, 6) < 1).astype(np.float32))
    middle = canvas.draw(0.4, 0.6)
    light = 1 + canvas.draw(-0.1, 0.1) * canvas.x + canvas.draw(-0.1, 0.1) * canvas.y
    average = (ink * 4096).astype(np.int32).mean(
        axis=(1, 2), keepdims=True
    ) / 4096  # integers: exact in any order
    level = (ink - average.astype(np.float32)) * light
    grain = _noise(canvas.size)[noise_at % np.uint64(_NOISE)].reshape(-1, 3, canvas.size, canvas.size)
    image = np.empty((len(ink), canvas.size, canvas.size, 3), dtype=np.uint8)
    for channel in range(3):
        gain, base = contrast + canvas.draw(-0.06, 0.06), middle * light + canvas.draw(-0.06, 0.06)
        value = (level * gain + base) * 255 + grain[:, channel] * 6
        image[..., channel] = np.clip(value + 0.5, 0, 255)
    return image


@functools.cache
def _noise(size: int) -> npt.NDArray[np.float32]:
    """(65536, 3 * size * size) view: one window per image into a table of noise in [-1, 1)."""
    words = hash64(derive_seed("synthetic noise"), np.arange(_NOISE, dtype=np.uint64))
    table = ((words >> np.uint64(40)).astype(np.float32)) * 2.0**-23 - 1
    return np.lib.stride_tricks.sliding_window_view(
        np.resize(table, _NOISE + 3 * size * size - 1), 3 * size * size
    )
