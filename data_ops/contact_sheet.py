"""Contact sheets: pictures of many small images with labels, such as samples, corruptions and views."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.pool import ImagePool
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.policy import ViewPolicy, sample_params

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Pixels = npt.NDArray[np.uint8]  # (H, W, 3)

_INK, _PAPER, _BLANK = (20, 20, 20), (255, 255, 255), (238, 238, 238)
_FONT_PX = 14
_GAP = 4  # pixels between images, and around labels
_LONGEST = 40  # characters in a line of a label
_TRAINING_COLUMNS = 8  # images on the sheet of a training


def contact_sheet(
    rows: Sequence[Sequence[Pixels]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    title: str = "",
    cell: int = 96,
) -> Image.Image:
    """An RGB picture of rows of images, with labels to the left of rows and above columns.

    A small image is enlarged by the largest whole factor that fits, without smoothing, so that its pixels can
    be seen. A larger one is shrunk with antialiasing.

    Args:
        rows: uint8 (H, W, 3) images; rows may differ in length.
        row_labels: One label per row, or nothing. Long lines are cut.
        column_labels: One label per column, or nothing.
        title: A headline above the picture.
        cell: The side in pixels of the square that each image gets.

    Raises:
        DataError: The rows are empty, an array is not an RGB image, or the number of labels does not match.
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


def training_sheet(pool: ImagePool, policies: Sequence[ViewPolicy], seed: int) -> bytes:
    """A PNG of some images of a training: the clean ones, the corrupted ones, and a view by each policy."""
    from ssl_sweep.data_ops.views.torch_views import TorchViews  # torch is slow to import

    index = np.linspace(0, len(pool) - 1, min(_TRAINING_COLUMNS, len(pool))).astype(np.int64)
    rows = {"image": pool.clean(index)}
    if pool.corruption.name != "none":
        rows[pool.corruption.canonical] = pool[index]
    for view, policy in enumerate(policies):
        params = sample_params(policy, seed, 0, pool.keys[index], view, shape=pool.shape[1:3])
        planes = TorchViews(policy).render(pool[index], params).numpy()
        rows[f"view {view + 1}"] = _pixels(planes)
    return png_bytes(contact_sheet([list(images) for images in rows.values()], list(rows)))


def _pixels(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(n, 3, S, S) as the network gets it to (n, S, S, 3): the inverse of (x / 255 - 0.5) / 0.25."""
    return np.clip(np.rint((np.moveaxis(planes, 1, 3) + 2.0) * (255.0 / 4.0)), 0, 255).astype(np.uint8)


def png_bytes(sheet: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _fitted(pixels: Pixels, cell: int) -> Image.Image:
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise DataError(
            f"contact sheet: an array is {pixels.dtype} {pixels.shape}; images are uint8 (H, W, 3)"
        )
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = cell // max(height, width)
    if factor:
        return image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    scale = cell / max(height, width)
    shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(shrunk, Image.Resampling.BILINEAR)


def _extent(draw: ImageDraw.ImageDraw, font: Font, text: str) -> tuple[int, int]:
    """(width, height) of a text in pixels, descenders included."""
    box = draw.multiline_textbbox((0, 0), text, font)
    return int(np.ceil(box[2])), int(np.ceil(box[3]))


def _cut(label: str) -> str:
    return "\n".join(
        line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…" for line in label.splitlines()
    )
