"""Places365-Standard with images of 256 pixels, as published."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import FileImage, Listing, list_files
from ssl_sweep.data_ops.sources.options import PublishedSplits, option


@dataclasses.dataclass(frozen=True)
class Places365Source(PublishedSplits):
    """Places365-Standard at 256 pixels; its val split is test.

    ``root`` has the lists places365_train_standard.txt, places365_val.txt and categories_places365.txt, and
    the image folders data_256_standard and val_256. The names are torchvision's.
    """

    root: str = option("The folder, with the published layout. ${VAR} is expanded.", path=True)

    def listing(self, split: Split) -> Listing:
        """The images of a split.

        Raises:
            DataError: A list or folder is missing, or a line of a list does not have the published form.
        """
        root = Path(self.root)
        lists, folder = ("places365_train_standard.txt", "data_256_standard")
        if split == "test":
            lists, folder = ("places365_val.txt", "val_256")
        if not (root / folder).is_dir():
            raise DataError(f"{root / folder}: no such folder; unpack the 256-pixel images there")
        categories = root / "categories_places365.txt"
        # a line is "/a/airfield 0"; the first part only sorts the classes by their first letter
        names = {code: name.lstrip("/").partition("/")[2] for name, code in _pairs(categories)}
        images = []
        for name, code in _pairs(root / lists):
            if code not in names:
                raise DataError(
                    f"{root / lists}: {name} has the class {code}, which {categories.name} lacks; "
                    "download both lists again"
                )
            images.append(FileImage(str(root / folder / name.lstrip("/")), (names[code],)))
        return list_files(images, root / lists, categories)


def _pairs(path: Path) -> list[tuple[str, int]]:
    """The (name, class number) lines of a published list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put the published list there") from error
    pairs = []
    for i, line in enumerate(lines, start=1):
        name, _, code = line.rpartition(" ")
        if not name or not code.isdecimal() or ".." in Path(name).parts:
            raise DataError(
                f"{path}:{i}: {line!r} is not a file name and a class number; download the list again"
            )
        pairs.append((name, int(code)))
    if not pairs:
        raise DataError(f"{path}: no lines; download the list again")
    return pairs
