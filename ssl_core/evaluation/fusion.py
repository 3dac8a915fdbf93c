"""Features that are read in parts: one array, or several presented as one; and checks of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

_CHUNK_BYTES = 4 * 2**20  # of float64: how much of a memory map is read at once


class FusedFeatures:
    """The features of several encoders for the same images, side by side.

    ``arrays`` of shape (n, d_i), which may be memory maps, look like one of shape (n, Σ d_i). Only the rows
    that are indexed are read. A linear probe needs nothing more, since it standardises each column. The
    nearest neighbours use each encoder's features scaled to length 1, so that all encoders count equally
    (``unit_rows``).

    Raises:
        ValueError: The arrays have different numbers of images.
    """

    def __init__(self, arrays: Sequence[Floats]) -> None:
        shapes = [array.shape for array in arrays]
        if not arrays or any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
            raise ValueError(f"arrays have shapes {shapes}; give (n, d) features of the same n images each")
        self._arrays = tuple(arrays)
        self.widths = tuple(shape[1] for shape in shapes)
        self.shape = (shapes[0][0], sum(self.widths))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Ints | slice) -> Floats:
        return np.concatenate([array[rows] for array in self._arrays], axis=1)


Features = Floats | FusedFeatures


def read(x: Features, rows: Ints | None = None) -> Iterator[tuple[slice, Floats]]:
    """The rows (n,) of features, or all if None, in parts: the slice of each part, and the part."""
    n = len(x) if rows is None else len(rows)
    step = max(1, _CHUNK_BYTES // (8 * max(1, x.shape[1])))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        yield part, x[part if rows is None else rows[part]]


def check_features(name: str, x: Features, rows: Ints | None = None) -> None:
    """Raise ValueError if a feature is not finite."""
    if not all(np.isfinite(part).all() for _, part in read(x, rows)):
        raise ValueError(
            f"the {name} features hold NaN or infinite values; the encoder that made them diverged"
        )


def check_shapes(x_train: Features, x_test: Features) -> None:
    """Raise ValueError if the two cannot be from one encoder, or there is nothing to test."""
    if len(x_train.shape) != 2 or x_train.shape[1:] != x_test.shape[1:] or len(x_test) == 0:
        raise ValueError(f"features are {x_train.shape} and {x_test.shape}; give (n, d) and (n_test, d)")


def check_labels(x_train: Features, rows: Ints | None, y: npt.NDArray[np.integer], n_classes: int) -> None:
    """Raise ValueError if the labelled rows and the labels do not fit together."""
    n = len(x_train) if rows is None else len(rows)
    if y.shape != (n,) or n == 0:
        raise ValueError(f"{n} training features and labels of shape {y.shape}; give one label per row")
    if rows is not None and (rows.min() < 0 or rows.max() >= len(x_train)):
        raise ValueError(f"rows run from {rows.min()} to {rows.max()}; there are {len(x_train)} features")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"labels run from {y.min()} to {y.max()}; they must be 0 to {n_classes - 1}")


def missing_classes(y: npt.NDArray[np.integer], n_classes: int) -> tuple[int, ...]:
    """Those of ``n_classes`` classes that have no label."""
    return tuple(int(c) for c in np.setdiff1d(np.arange(n_classes), y))
