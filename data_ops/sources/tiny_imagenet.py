"""Tiny-ImageNet-200, as published."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.folder import files
from ssl_sweep.data_ops.sources.listing import FileImage, Listing, list_files
from ssl_sweep.data_ops.sources.options import PublishedSplits, option


@dataclasses.dataclass(frozen=True)
class TinyImageNetSource(PublishedSplits):
    """Tiny-ImageNet-200; its val split is test, because the published test images have no labels.

    ``root`` has train/WNID/images, and val/images with val/val_annotations.txt or val/WNID.
    """

    root: str = option("The folder, with the published layout. ${VAR} is expanded.", path=True)

    def listing(self, split: Split) -> Listing:
        """The images of a split.

        Raises:
            DataError: A folder or the annotations are missing.
        """
        folder = Path(self.root) / ("train" if split == "train" else "val")
        table = folder / "val_annotations.txt"
        if not (folder / "images").is_dir():
            tally = Tally()
            images = [FileImage(path, (name,)) for path, name in files(str(folder), tally)]
            return list_files(images, passed_over=tally.found)
        try:
            lines = table.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(
                f"{table}: cannot be read ({error.strerror}); it has the labels of val, so put it there"
            ) from error
        rows = [line.split("\t") for line in lines if line]
        if not rows or any(len(row) < 2 for row in rows):
            raise DataError(
                f"{table}: a line is not a file name, a tab, a class and more; download the file again"
            )
        return list_files([FileImage(str(folder / "images" / row[0]), (row[1],)) for row in rows], table)
