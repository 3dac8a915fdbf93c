"""The domain ``scenes``: natural, urban and indoor places, distinguished by their layout."""

from __future__ import annotations

import numpy as np

from ssl_sweep.data_ops.synthetic.canvas import Canvas, Domain, Field, box, cell, inside, wave

_KINDS = {
    "mountains": "natural", "sea": "natural", "forest": "natural", "dunes": "natural",
    "skyline": "urban", "street": "urban", "bridge": "urban", "facade": "urban",
    "room": "indoor", "corridor": "indoor", "shelves": "indoor", "stairs": "indoor",
}  # fmt: skip


def _mix(cover: Field, over: Field | float, under: Field | float) -> Field:
    """``over`` as far as it covers, ``under`` elsewhere."""
    return under + cover * (over - under)


def _natural(name: str, c: Canvas, x: Field, y: Field, pixel: Field) -> Field:
    sky = 0.1 + 0 * (x + y)
    match name:
        case "mountains":
            far = 2 * cell(x * 0.9 + c.draw(0, 1)) * 0.9
            near = 2 * cell(x * 1.3 + c.draw(0, 1)) * 0.6
            view = _mix(inside(-0.55 + far - y, pixel), 0.55, sky)
            return _mix(inside(0.1 + near - y, pixel), 0.95, view)
        case "sea":
            depth = np.maximum(y + 0.2, 0.06)
            swell = wave(0.9 / (depth + 0.22) + c.draw(0, 1) + 0.12 * wave(x * 0.8 + c.draw(0, 1)))
            return _mix(inside(-0.2 - y, pixel), np.clip(0.55 + 0.6 * swell, 0, 1), sky)
        case "forest":
            bend = 0.2 * wave(x * 0.7 + c.draw(0, 1)) + 0.06 * wave(y * 0.7 + c.draw(0, 1))
            trunks = inside(cell(x * 2.1 + bend + c.draw(0, 1)) - 0.2, pixel * 2.1)
            ground = inside(0.7 - y, pixel)
            return np.maximum(0.1 + 0.85 * trunks, 0.8 * ground)
        case _:
            far = 0.18 * wave(x * 0.45 + c.draw(0, 1))
            near = 0.22 * wave(x * 0.35 + c.draw(0, 1))
            view = _mix(inside(-0.25 + far - y, pixel), 0.5, sky)
            return _mix(inside(0.3 + near - y, pixel), 0.9, view)


def _urban(name: str, c: Canvas, x: Field, y: Field, pixel: Field) -> Field:
    match name:
        case "skyline":
            block = np.rint(x * 2 + c.draw(0, 1))
            tower = inside(0.45 * wave(block * 0.618 + c.draw(0, 1)) - y, pixel)
            lit = inside(np.maximum(cell(x * 4) - 0.25, cell(y * 2.6) - 0.2), pixel * 3)
            return 0.1 + tower * (0.85 - 0.45 * lit)
        case "street":
            ahead = y + 0.25  # below the horizon
            road = inside(np.abs(x) - 0.75 * ahead, pixel)
            dashes = wave(0.8 / np.maximum(ahead + 0.1, 0.05) + c.draw(0, 1))
            line = inside(np.abs(x) - 0.09 * ahead, pixel) * inside(dashes, 1)
            walls = inside(0.28 + np.maximum(-0.8 * ahead, 2.4 * ahead) - np.abs(x), pixel)
            return np.clip(np.maximum(walls * 0.6, road * 0.95) - line * 0.8, 0.1, 1)
        case "bridge":
            deck = inside(np.abs(y - 0.1) - 0.1, pixel)
            span = cell(x * 0.8 + c.draw(0, 1))
            arch = inside(0.3 + 3 * span * span - y, pixel)
            piers = inside(0.1 - y, pixel) * (1 - arch)
            above = inside(np.maximum(y, -0.5 - y), pixel)
            cables = inside(cell(x * 2.4 + c.draw(0, 1)) - 0.1, pixel * 2.4) * above
            return 0.1 + 0.8 * np.maximum(deck, np.maximum(piers, cables * 0.8))
        case _:
            column, row = cell(x * 1.7 + c.draw(0, 1)), cell(y * 1.5 + c.draw(0, 1))
            return 0.8 - 0.65 * inside(np.maximum(column - 0.26, row - 0.28), pixel * 1.6)


def _indoor(name: str, c: Canvas, x: Field, y: Field, pixel: Field) -> Field:
    match name:
        case "room":
            side = inside(np.abs(y) * 1.1 - np.abs(x), pixel)
            shade = _mix(side, 0.55, _mix(inside(-y, pixel), 0.95, 0.15))
            picture = inside(box(x + c.draw(-0.2, 0.2), y + 0.05, 0.16, 0.14), pixel)
            return _mix(inside(box(x, y, 0.5, 0.45), pixel), 0.3 + 0.6 * picture, shade)
        case "corridor":
            depth = 0.75 / (np.maximum(np.abs(x), np.abs(y)) + 0.16)
            return np.clip(0.5 + 0.8 * wave(depth + c.draw(0, 1)), 0.1, 0.95)
        case "shelves":
            row = y * 1.35 + c.draw(0, 1)
            board = inside(cell(row) - 0.09, pixel * 1.35)
            shifted = x + 0.31 * np.rint(row - 0.5)
            books = wave(shifted * 2.6 + 0.35 * wave(x * 0.9 + c.draw(0, 1)))
            return np.maximum(board * 0.95, np.clip(0.45 + 0.45 * books, 0.1, 0.85))
        case _:
            step = x * 1.8 + c.draw(0, 1)
            slope = y + 0.55 * (x + step - np.rint(step))
            return np.clip(0.5 + 2 * wave(slope + c.draw(0, 1)), 0.1, 0.95)


def paint(canvas: Canvas, fine: int) -> Field:
    """Draw a batch of one class; see ``Domain.paint``."""
    name, kind = list(_KINDS.items())[fine]
    x, y, pixel = canvas.frame(radius=(0.7, 1.4), shift=0.35, tilt=0.05)
    draw = {"natural": _natural, "urban": _urban, "indoor": _indoor}[kind]
    return draw(name, canvas, x * canvas.draw(0.75, 1.33), y, pixel) + 0.04 * canvas.haze(period=0.6)


DOMAIN = Domain(
    name="scenes",
    levels=("scene", "kind", "super"),
    lineage=tuple(
        (name, kind, "natural" if kind == "natural" else "man-made") for name, kind in _KINDS.items()
    ),
    paint=paint,
)
