"""The domain ``landcover``: the ground seen from above; farmland, built-up and wild land."""

from __future__ import annotations

import numpy as np

from ssl_sweep.data_ops.synthetic.canvas import Canvas, Domain, Field, cell, inside, wave

_USES = {
    "crops": "farmland", "orchard": "farmland", "terraces": "farmland", "fields": "farmland",
    "blocks": "built-up", "suburb": "built-up", "highway": "built-up", "parking": "built-up",
    "forest": "wild", "lake": "wild", "river": "wild", "desert": "wild",
}  # fmt: skip


def _ground(name: str, c: Canvas, x: Field, y: Field, pixel: Field) -> Field:
    match name:
        case "crops":
            return 0.5 + 0.45 * wave(x * 2.6 + c.draw(0, 1))
        case "orchard":
            trees = wave(x * 2 + c.draw(0, 1)) + wave(y * 2 + c.draw(0, 1))
            return 0.15 + 0.8 * np.clip(trees - 0.1, 0, 1)
        case "terraces":
            return 0.5 + 0.45 * wave(c.haze(period=1.9) * 1.6 + c.draw(0, 1))
        case "fields":
            patch = wave(x * 0.55 + c.draw(0, 1)) * wave(y * 0.55 + c.draw(0, 1))
            furrow = wave(np.where(patch > 0, x, y) * 2.6)
            return 0.5 + 0.28 * np.clip(6 * patch, -1, 1) + 0.2 * furrow
        case "blocks":
            street = np.maximum(cell(x * 1.3 + c.draw(0, 1)), cell(y * 1.3 + c.draw(0, 1)))
            return 0.9 - 0.8 * inside(0.36 - street, pixel * 1.3)
        case "suburb":
            row = y * 1.5 + c.draw(0, 1)
            house = np.maximum(cell(x * 1.8 + 0.37 * np.rint(row)) - 0.22, cell(row) - 0.2)
            return 0.2 + 0.7 * inside(house, pixel * 1.6)
        case "highway":
            across = x - c.draw(-0.3, 0.3)
            line = inside(np.abs(across) - 0.05, pixel)
            land = 0.25 + 0.15 * c.haze(period=0.5)
            return land + inside(np.abs(across) - 0.32, pixel) * (0.95 - 0.7 * line - land)
        case "parking":
            row = y * 0.9 + c.draw(0, 1)
            cars = inside(np.maximum(cell(x * 2.8) - 0.28, cell(row) - 0.28), pixel * 2)
            return 0.2 + 0.75 * cars
        case "forest":
            return np.clip(0.5 + 1.1 * c.haze(period=0.33, waves=4), 0, 1)
        case "lake":
            shore = c.haze(period=1.7) + 0.1 * c.haze(period=0.5)
            return 0.15 + 0.75 * inside(shore, pixel * 1.5)
        case "river":
            middle = 0.3 * wave(y * 0.6 + c.draw(0, 1)) + c.draw(-0.25, 0.25)
            land = 0.3 + 0.2 * c.haze(period=0.5)
            return land + inside(np.abs(x - middle) - 0.2, pixel) * (0.95 - land)
        case _:
            crest = x * 1.5 + 0.28 * wave(y * 1.1 + c.draw(0, 1)) + 0.2 * c.haze(period=1.0)
            return 0.5 + 0.4 * wave(crest)


def paint(canvas: Canvas, fine: int) -> Field:
    """Draw a batch of one class; see ``Domain.paint``."""
    x, y, pixel = canvas.frame(radius=(0.8, 1.2), shift=0.3, tilt=0.4)
    return _ground(list(_USES)[fine], canvas, x, y, pixel) + 0.03 * canvas.haze(period=0.7)


DOMAIN = Domain(
    name="landcover",
    levels=("cover", "use"),
    lineage=tuple(_USES.items()),
    paint=paint,
)
