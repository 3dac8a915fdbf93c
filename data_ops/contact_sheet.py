"""Pictures of many small images with labels, to be looked at: samples of a dataset, views, corruptions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Pixels = npt.NDArray[np.uint8]  # (H, W, 3)

_INK, _PAPER, _BLANK = (20, 20, 20), (255, 255, 255), (238, 238, 238)
_FONT_PX = 14
_GAP = 4  # pixels between images, and around labels
_LONGEST = 40  # characters of a label's line


def contact_sheet(
    rows: Sequence[Sequence[Pixels]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    title: str = "",
    cell: int = 96,
) -> Image.Image:
    """An RGB picture of `rows` of uint8 (H, W, 3) images, labels at the left of rows and above columns.

    Every image gets a square of `cell` pixels: small ones are enlarged by the largest whole factor that fits,
    pixel by pixel, so that what one sees is what is there; larger ones are shrunk with antialiasing. Rows may
    differ in length. A label's long lines are cut. DataError for no image, an array that is not an RGB image,
    or labels that do not match the rows.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise DataError("a contact sheet needs at least one image")
    for labels, n, what in ((row_labels, len(rows), "rows"), (column_labels, columns, "columns")):
        if len(labels) not in (0, n):
            raise DataError(f"contact sheet: {len(labels)} labels for {n} {what}")
    font = ImageFont.load_default(_FONT_PX)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    headline = _extent(ruler, font, title) if title else (0, -2 * _GAP)
    above = [_extent(ruler, font, _cut(label)) for label in column_labels]
    left = max((2 * _GAP + _extent(ruler, font, _cut(label))[0] for label in row_labels), default=0)
    top = headline[1] + 2 * _GAP + max((2 * _GAP + height for _, height in above), default=0)
    widths = [max(cell, width) for width, _ in above] or [cell] * columns
    starts = [left + _GAP + sum(widths[:column]) + column * _GAP for column in range(columns)]
    right = max(starts[-1] + widths[-1], _GAP + headline[0]) + _GAP
    sheet = Image.new("RGB", (right, top + len(rows) * (cell + _GAP) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((_GAP, _GAP), title, _INK, font)
    for label, start, width in zip(column_labels, starts, widths, strict=False):
        at = (start + width // 2, top - _GAP)
        draw.multiline_text(at, _cut(label), _INK, font, anchor="md", align="center")
    for row, images in enumerate(rows):
        y = top + _GAP + row * (cell + _GAP)
        if row_labels:
            draw.multiline_text((_GAP, y + cell // 2), _cut(row_labels[row]), _INK, font, anchor="lm")
        for pixels, start, width in zip(images, starts, widths, strict=False):
            x = start + (width - cell) // 2
            sheet.paste(_BLANK, (x, y, x + cell, y + cell))
            fitted = _fitted(pixels, cell)
            sheet.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))
    return sheet


def png_bytes(sheet: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _fitted(pixels: Pixels, cell: int) -> Image.Image:
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise DataError(f"contact sheet: {pixels.dtype} {pixels.shape} is no image; give uint8 (H, W, 3)")
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = cell // max(height, width)
    if factor:
        return image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    scale = cell / max(height, width)
    shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(shrunk, Image.Resampling.BILINEAR)


def _extent(draw: ImageDraw.ImageDraw, font: Font, text: str) -> tuple[int, int]:
    """(width, height) of a text in pixels, with all that hangs below the line."""
    box = draw.multiline_textbbox((0, 0), text, font)
    return int(np.ceil(box[2])), int(np.ceil(box[3]))


def _cut(label: str) -> str:
    return "\n".join(
        line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…" for line in label.splitlines()
    )
