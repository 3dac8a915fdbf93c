"""GeoLifeCLEF 2020's RGB patches, with labels from a CSV file that the user provides.

The published labels are species. The study's labels are land cover, so the user gives a table of observation
ids and labels.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import Listing
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.table import LabelTable

_REGIONS = {"1": "patches_fr", "2": "patches_us"}


@dataclasses.dataclass(frozen=True)
class GeoLifeClefSource(SplitHere):
    """GeoLifeCLEF 2020's RGB patches, labelled by a CSV file.

    Observation 10123456 is patches_fr/56/34/10123456_rgb.jpg.
    """

    root: str = option(
        "The folder with patches_fr (ids that start with 1) and patches_us (ids that start with 2)."
        " ${VAR} is expanded.",
        path=True,
    )
    train: str = option("CSV file of observation ids and labels. ${VAR} is expanded.", path=True)
    test: str | None = option("The same for the test images.", None, path=True)
    id: str = option("Column of the observation ids.", "observation_id")
    levels: tuple[str, ...] = option("Label columns, fine to coarse.", ("label",))
    group: str | None = option(
        "Column of groups, such as scenes or patients; the program keeps each group on one side of a split.",
        None,
    )
    split: str | None = option("Column that holds train or test for each row; use it instead of test.", None)

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: The folders or a column are missing, or an id is not an observation id.
        """
        table = LabelTable(
            train=self.train,
            test=self.test,
            name=self.id,
            levels=self.levels,
            group=self.group,
            split=self.split,
        )
        where = table.where(split)
        if where is None:
            return None
        root = Path(self.root)
        if not any((root / region).is_dir() for region in _REGIONS.values()):
            raise DataError(f"{root}: neither patches_fr nor patches_us is here; unpack the patches there")
        return table.listing(split, functools.partial(_patch, root, where))


def _patch(root: Path, table: str, id: str) -> str:
    """The file of an observation, from its region, its last two digits and the two before them."""
    if not (id.isdecimal() and len(id) > 4 and id[0] in _REGIONS):
        raise DataError(
            f"{table}: {id!r} is not an observation id; ids are numbers that start with 1 (France) or 2 (US)"
        )
    return str(root / _REGIONS[id[0]] / id[-2:] / id[-4:-2] / f"{id}_rgb.jpg")
