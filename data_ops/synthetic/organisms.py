"""The domain ``organisms``: creatures in water. A species is a body plan with a coat."""

from __future__ import annotations

import numpy as np

from ssl_sweep.data_ops.synthetic.canvas import (
    Canvas,
    Domain,
    Field,
    cell,
    cos_multiple,
    inside,
    length,
    wave,
)

_FAMILIES = {
    "star": "radial",
    "medusa": "radial",
    "worm": "long",
    "rod": "long",
    "snail": "shelled",
    "clam": "shelled",
}
_COATS = ("smooth", "banded", "spotted")


def _body(family: str, canvas: Canvas, pixel: Field, u: Field, v: Field) -> tuple[Field, Field]:
    """The coverage of the body, and the coordinate that its bands follow."""
    match family:
        case "star":
            lobes, radius = cos_multiple(u, v, 5)
            return inside(radius - (0.62 + 0.36 * lobes), pixel), radius
        case "medusa":
            bell = inside(np.maximum(length(u, v) - 0.8, v - 0.1), pixel)
            arms = inside(cell(u * 2.2) - 0.16, pixel * 2.2)
            legs = arms * inside(np.maximum(np.abs(u) - 0.65, np.abs(v - 0.5) - 0.45), pixel)
            return np.maximum(bell, legs), v * 1.3
        case "worm":
            middle = 0.38 * wave(u * 0.75 + canvas.draw(0, 1))
            return inside(np.maximum(np.abs(v - middle) - 0.22, np.abs(u) - 1.1), pixel), u
        case "rod":
            core = np.maximum(np.abs(u) - 0.75, 0)
            hairs = inside(cell(u * 2.5) - 0.15, pixel * 2.5)
            fringe = hairs * inside(length(core, v) - 0.62, pixel)
            return np.maximum(inside(length(core, v) - 0.3, pixel), fringe * 0.7), u
        case "snail":
            lobes, radius = cos_multiple(u, v, 1)
            coil = np.clip(0.5 + 2 * wave(radius * 1.7 + lobes * 0.25), 0.15, 1)
            return inside(radius - 0.85, pixel) * coil, u
        case _:
            lobes, radius = cos_multiple(u, v + 0.7, 12)
            fan = inside(np.maximum(radius - 1.45, np.abs(u) - (v + 0.85) * 0.85), pixel)
            return fan * np.clip(0.6 + lobes, 0.2, 1), radius


def paint(canvas: Canvas, fine: int) -> Field:
    """Draw a batch of one class; see ``Domain.paint``."""
    family, coat = list(_FAMILIES)[fine // len(_COATS)], _COATS[fine % len(_COATS)]
    u, v, pixel = canvas.frame(radius=(0.65, 0.95), shift=0.15, tilt=0.12)
    cover, along = _body(family, canvas, pixel, u, v)
    match coat:
        case "smooth":
            shade = 0.75 + 0 * along
        case "banded":
            shade = np.clip(0.55 + wave(along * 2.2 + canvas.draw(0, 1)), 0.1, 1)
        case _:
            spots = wave(u * 1.9 + canvas.draw(0, 1)) + wave(v * 1.9 + canvas.draw(0, 1))
            shade = np.clip(0.8 - 1.5 * np.clip(spots - 0.5, 0, 1), 0.1, 1)
    water = 0.05 * canvas.haze(period=1.0)
    return water + cover * (shade - water)


DOMAIN = Domain(
    name="organisms",
    levels=("species", "family", "phylum"),
    lineage=tuple(
        (f"{coat} {family}", family, phylum) for family, phylum in _FAMILIES.items() for coat in _COATS
    ),
    paint=paint,
)
