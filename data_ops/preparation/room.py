"""Arrays written through memory, on disks that may be full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def new_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new .npy file to be filled through memory, with its space on the disk taken already: later, a page
    for which there is none would not raise but end the process.

    Raises:
        OSError: names the file for which there is no room.
    """
    kind = np.dtype(dtype)
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with open(path, "rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
    return array
