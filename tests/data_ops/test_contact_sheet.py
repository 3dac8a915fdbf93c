"""Contact sheets: every image is there, at its place, unblurred, with room for its labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ssl_sweep.data_ops.contact_sheet import contact_sheet, png_bytes
from ssl_sweep.data_ops.errors import DataError


def images(n: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    return list(np.random.default_rng(n).integers(0, 256, (n, height, width, 3), dtype=np.uint8))


def find(sheet: np.ndarray, part: np.ndarray) -> bool:
    """Whether ``part`` is anywhere in ``sheet``, pixel for pixel."""
    corners = np.argwhere((sheet[: 1 - len(part), : 1 - part.shape[1]] == part[0, 0]).all(axis=2))
    return any((sheet[y : y + len(part), x : x + part.shape[1]] == part).all() for y, x in corners)


def test_small_images_are_enlarged_pixel_by_pixel() -> None:
    rows = [images(3), images(2, 8, 20)]
    sheet = np.asarray(contact_sheet(rows, ["three", "two"], ["a", "b", "c"], title="all"))
    for image in rows[0]:
        assert find(sheet, image.repeat(3, axis=0).repeat(3, axis=1))
    for image in rows[1]:
        assert find(sheet, image.repeat(4, axis=0).repeat(4, axis=1))


def test_images_of_the_cell_s_size_are_left_alone_and_larger_ones_fit() -> None:
    row = [*images(1, 64, 64), *images(1, 300, 100)]
    sheet = contact_sheet([row], cell=64)
    assert sheet.size == (2 * 64 + 3 * 4, 64 + 2 * 4)
    assert find(np.asarray(sheet), row[0])


def test_labels_take_their_own_room() -> None:
    rows = [images(2)]
    bare = contact_sheet(rows)
    labelled = contact_sheet(rows, ["a row\nof two lines"], ["short", "a column label wider than its image"])
    assert labelled.width > bare.width
    assert labelled.height > bare.height
    for image in rows[0]:
        assert find(np.asarray(labelled), image.repeat(3, axis=0).repeat(3, axis=1))
    assert contact_sheet(rows, ["x" * 1000]).width < bare.width + 500
    assert contact_sheet(rows, title="a title that is much wider than two images of 96 px").width > bare.width


def test_the_png_is_the_picture() -> None:
    sheet = contact_sheet([images(4)], title="four")
    with Image.open(io.BytesIO(png_bytes(sheet))) as read:
        assert read.format == "PNG"
        assert np.array_equal(np.asarray(read), np.asarray(sheet))
    assert png_bytes(contact_sheet([images(4)], title="four")) == png_bytes(sheet)


def test_what_is_no_sheet_is_refused() -> None:
    with pytest.raises(DataError, match="at least one image"):
        contact_sheet([[], []])
    with pytest.raises(DataError, match="2 labels for 1 rows"):
        contact_sheet([images(1)], ["a", "b"])
    with pytest.raises(DataError, match="uint8"):
        contact_sheet([[np.zeros((4, 4, 3))]])
    with pytest.raises(DataError, match=r"\(4, 4\)"):
        contact_sheet([[np.zeros((4, 4), np.uint8)]])
