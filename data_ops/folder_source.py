"""Image files in class sub-folders."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from data_ops.decode import decode_rgb
from data_ops.errors import DataError
from data_ops.sources import Pixels, RawImage

SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])


def files(root: str) -> list[tuple[Path, str]]:
    """(file, class name) of every image file, in name order; hidden entries and other files are left out.

    DataError for a missing folder, one without class sub-folders, or a class without images.
    """
    top = Path(root)
    if not top.is_dir():
        raise DataError(f"{root}: no such folder; give one that holds a sub-folder of images per class")
    classes = sorted(entry for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(
            f"{root}: no class sub-folders; put the images of each class into a folder of its name"
        )
    found: list[tuple[Path, str]] = []
    for folder in classes:
        images = [path for path in sorted(folder.rglob("*")) if _is_image(path, folder)]
        if not images:
            raise DataError(
                f"{folder}: class folder without images ({' '.join(sorted(SUFFIXES))}); fill or remove it"
            )
        found += [(path, folder.name) for path in images]
    return found


def iterate(root: str) -> Iterator[RawImage]:
    """The images of a folder, read one by one."""
    for path, class_name in files(root):
        yield RawImage(str(path), functools.partial(_read, path), (class_name,))


def _is_image(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def _read(path: Path) -> Pixels:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); restore it or its permissions"
        ) from error
    return decode_rgb(data, str(path))
