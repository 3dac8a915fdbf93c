"""Drawing tools for the procedural domains: batches of small antialiased fields from exact arithmetic.

Pixels are made with + - * / sqrt, rounding, comparisons and table look-ups only. IEEE 754 defines their
results to the last bit. Results of sin or exp differ between processors, and one changed grey level would
change an image's id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.hashing import uniform

# float32 (n, S, S), or a shape that broadcasts to it, such as (n, 1, 1) for one number per image.
Field = npt.NDArray[np.floating[Any]]


@dataclasses.dataclass(frozen=True)
class Domain:
    """A procedural domain."""

    name: str
    levels: tuple[str, ...]
    """Names of the label levels, fine to coarse."""
    lineage: tuple[tuple[str, ...], ...]
    """``lineage[fine]`` is the name of a class at every level."""
    paint: Callable[[Canvas, int], Field]
    """``paint(canvas, fine)`` draws a batch of one class: how much ink, 0 to 1, is on each pixel."""


class Canvas:
    """A batch of n images of one class: their coordinates (x right, y down, -1 to 1) and random numbers."""

    def __init__(self, seed: int, indices: npt.NDArray[np.int64], size: int) -> None:
        axis = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
        self.x: Field = axis[None, None, :]
        self.y: Field = axis[None, :, None]
        self.size = size
        self.pixel = 2 / size
        self._seed = seed
        self._indices = indices
        self._slot = 0

    def draw(self, low: float, high: float) -> Field:
        """(n, 1, 1) uniform in [low, high): the next random number of each image."""
        self._slot += 1
        u = uniform(self._seed, self._slot, self._indices)
        return (low + (high - low) * u).astype(np.float32)[:, None, None]

    def sign(self) -> Field:
        """(n, 1, 1) random signs, -1 or 1."""
        return 2 * (self.draw(0, 2) >= 1).astype(np.float32) - 1

    def frame(self, radius: tuple[float, float], shift: float, tilt: float) -> tuple[Field, Field, Field]:
        """Coordinates (u, v) of a moved, scaled, tilted and mirrored object, and a pixel's width in them.

        Args:
            radius: The least and the largest radius that the unit circle of (u, v) has on the canvas.
            shift: The largest shift along each axis.
            tilt: The tangent of half the largest angle.
        """
        scale = np.reciprocal(self.draw(*radius))
        x = (self.x - self.draw(-shift, shift)) * scale
        y = (self.y - self.draw(-shift, shift)) * scale
        u, v = turn(x * self.sign(), y, self.draw(-tilt, tilt))
        return u, v, self.pixel * scale

    def haze(self, period: float, waves: int = 3) -> Field:
        """(n, S, S) smooth random field, -1 to 1: the mean of waves of equal length in random directions."""
        one = np.ones((1, 1, 1), np.float32)
        total: Field = 0 * one
        for _ in range(waves):
            a, b = turn(one / period, 0 * one, self.draw(-1, 1))
            total = total + wave(self.x * a + self.y * (b * self.sign()) + self.draw(0, 1))
        return total / waves


def turn(x: Field, y: Field, half_tangent: Field) -> tuple[Field, Field]:
    """Rotate by an angle, given as the tangent of its half: this needs no trigonometry."""
    square = half_tangent * half_tangent
    cosine, sine = (1 - square) / (1 + square), 2 * half_tangent / (1 + square)
    return x * cosine - y * sine, x * sine + y * cosine


def wave(t: Field) -> Field:
    """A sine of period 1 built from parabolas, -1 to 1."""
    t = t - np.rint(t)
    return t * (8 - 16 * np.abs(t))


def cell(t: Field) -> Field:
    """Distance to the nearest integer, 0 to 0.5."""
    return np.abs(t - np.rint(t))


def inside(distance: Field, pixel: Field | float) -> Field:
    """Coverage, 0 to 1, of the region where a signed distance is negative; the edge is one pixel wide."""
    return np.clip(0.5 - distance / pixel, 0, 1)


def length(u: Field, v: Field) -> Field:
    """Distance from the origin."""
    return np.sqrt(u * u + v * v)


def box(u: Field, v: Field, width: float | Field, height: float | Field) -> Field:
    """Signed distance to a rectangle, given by half its sides."""
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def cos_multiple(u: Field, v: Field, folds: int) -> tuple[Field, Field]:
    """(cos(folds * angle), radius) of each point, from powers of a unit complex number."""
    radius = length(u, v) + 1e-6
    a, b = u / radius, v / radius
    re, im = a, b
    for _ in range(folds - 1):
        re, im = re * a - im * b, re * b + im * a
    return re, radius
