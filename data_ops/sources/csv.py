"""A CSV file that names image files and their labels."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path, PureWindowsPath

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import Listing, printable
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.data_ops.sources.table import LabelTable, is_utf8


@dataclasses.dataclass(frozen=True)
class CsvSource(SplitHere):
    """A CSV file that names image files and their labels."""

    train: str = option("The CSV file, or its address. ${VAR} is expanded.", path=True)
    test: str | None = option("The same for the test images.", None, path=True)
    path: str = option("Column of the image files: addresses, or paths relative to the CSV file.", "path")
    levels: tuple[str, ...] = option("Label columns, fine to coarse.", ("label",))
    group: str | None = option(
        "Column of groups, such as scenes or patients; the program keeps each group on one side of a split.",
        None,
    )
    split: str | None = option("Column that holds train or test for each row; use it instead of test.", None)

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


def _beside(table: str, name: str) -> str:
    """A path of a table: unchanged if it is absolute or an address, else relative to the table's folder.

    Raises:
        DataError: The path belongs to Windows, or the table is not UTF-8.
    """
    if is_remote(name):
        return name
    if is_remote(table):
        return f"{table.rpartition('/')[0]}/{name}"
    path = name if os.path.isabs(name) else str(Path(table).parent / name)
    if "\\" in name and not os.path.exists(path):
        if PureWindowsPath(name).drive:
            raise DataError(
                f"{table}: {printable(name)!r} is a path of Windows, which does not exist here; write paths "
                "relative to the table"
            )
        return str(Path(table).parent / name.replace("\\", "/"))
    if not is_utf8(name) and not os.path.exists(path):
        raise DataError(
            f"{table}: {printable(name)!r} does not exist, and the table is not UTF-8, perhaps cp1252; save "
            "it as UTF-8"
        )
    return path
