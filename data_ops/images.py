"""What the pipeline reads images from: an array, or any object that is indexed like one."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class ImageReader(Protocol):
    """(N, S, S, 3) uint8 images, read by a slice or an integer array. An image is the same at every read."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> npt.NDArray[np.uint8]: ...


ImageArray = npt.NDArray[np.uint8] | ImageReader
