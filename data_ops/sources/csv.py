"""A CSV file that names image files and their labels."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import ClassVar

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.sources.listing import Listing
from ssl_sweep.data_ops.sources.options import SplitHere
from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.data_ops.sources.table import LabelTable


@dataclasses.dataclass(frozen=True)
class CsvSource(SplitHere):
    """Images by path, in CSV files with a header."""

    train: str
    """The CSV file of the training images, or of all images if there is a column ``split``."""
    test: str | None = None
    """The CSV file of the test images."""
    path: str = "path"
    """The column of the image files: addresses, or paths relative to the CSV file."""
    levels: tuple[str, ...] = ("label",)
    """Label columns, fine to coarse. A cell is empty if the image has no label."""
    group: str | None = None
    """A column with the scene, patient or the like that an image belongs to."""
    split: str | None = None
    """A column that says train or test."""
    version: ClassVar[str] = ""

    @property
    def label_levels(self) -> tuple[str, ...]:
        return self.levels

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: A file or column is missing, or a split is neither train nor test.
        """
        table = LabelTable(
            train=self.train,
            test=self.test,
            name=self.path,
            levels=self.levels,
            group=self.group,
            split=self.split,
        )
        where = table.where(split)
        if where is None:
            return None
        return table.listing(split, functools.partial(_beside, where))


def _beside(table: str, path: str) -> str:
    """A path of a table: unchanged if it is absolute or an address, else relative to the table's folder."""
    if is_remote(path) or os.path.isabs(path):
        return path
    if is_remote(table):
        return f"{table.rpartition('/')[0]}/{path}"
    return str(Path(table).parent / path)
