"""The domain ``objects``: one textured shape in front of a hazy background; five shapes with four fills."""

from __future__ import annotations

import numpy as np

from ssl_sweep.data_ops.synthetic.canvas import Canvas, Domain, Field, box, inside, length, wave

_SHAPES = {"disc": "round", "ring": "round", "square": "angular", "triangle": "angular", "cross": "angular"}
_FILLS = ("plain", "striped", "checked", "dotted")


def _shape(name: str, u: Field, v: Field) -> Field:
    """Approximate signed distance to a shape of radius 1."""
    match name:
        case "disc":
            return length(u, v) - 0.9
        case "ring":
            return np.abs(length(u, v) - 0.72) - 0.26
        case "square":
            return box(u, v, 0.8, 0.8)
        case "triangle":
            return np.maximum(np.abs(u) * 0.866 - v * 0.5, v) - 0.55
        case _:
            return np.minimum(box(u, v, 1, 0.32), box(u, v, 0.32, 1))


def _fill(name: str, u: Field, v: Field) -> Field:
    """Ink of a texture: 0 to 1, about one half on average."""
    match name:
        case "plain":
            return 0.6 + 0 * u
        case "striped":
            return np.clip(0.5 + wave(v * 1.7), 0, 1)
        case "checked":
            return np.clip(0.5 + 2 * wave(u * 1.1) * wave(v * 1.1), 0, 1)
        case _:
            spots = wave(u * 1.5) + wave(v * 1.5)
            return np.clip(0.2 + spots, 0, 1)


def paint(canvas: Canvas, fine: int) -> Field:
    """Draw a batch of one class; see ``Domain.paint``."""
    shape, fill = list(_SHAPES)[fine // len(_FILLS)], _FILLS[fine % len(_FILLS)]
    u, v, pixel = canvas.frame(radius=(0.62, 0.95), shift=0.2, tilt=0.1)
    body = inside(_shape(shape, u, v), pixel)
    phase_u, phase_v = canvas.draw(0, 1), canvas.draw(0, 1)
    texture = 0.25 + 0.75 * _fill(fill, u + phase_u, v + phase_v)
    haze = 0.06 * canvas.haze(period=1.2)
    return haze + body * (texture - haze)


DOMAIN = Domain(
    name="objects",
    levels=("object", "shape", "outline"),
    lineage=tuple(
        (f"{fill} {shape}", shape, outline) for shape, outline in _SHAPES.items() for fill in _FILLS
    ),
    paint=paint,
)
