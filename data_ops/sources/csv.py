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
    """Images by path. `train`, `test`: CSV files with a header; or `train` alone with a column `split`.

    `path` is the column of the image files, relative to the CSV file or addresses; `levels` are label columns
    from fine to coarse, empty where an image has no label; `group` names a column of scenes, patients or the
    like; the column `split` says train or test.
    """

    train: str
    test: str | None = None
    path: str = "path"
    levels: tuple[str, ...] = ("label",)
    group: str | None = None
    split: str | None = None
    version: ClassVar[str] = ""

    @property
    def label_levels(self) -> tuple[str, ...]:
        return self.levels

    def listing(self, split: Split) -> Listing | None:
        """DataError for a missing file or column, or a split that is neither train nor test."""
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
    """A path of a table: as it stands where it is absolute or an address, else from the table's folder."""
    if is_remote(path) or os.path.isabs(path):
        return path
    if is_remote(table):
        return f"{table.rpartition('/')[0]}/{path}"
    return str(Path(table).parent / path)
