"""GeoLifeCLEF 2020's RGB patches, with labels from a table of the user's.

The published labels are species. The study's are land cover, and the rule that makes them is the user's: a
CSV file of observation ids and labels.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import Listing
from ssl_sweep.data_ops.sources.options import SplitHere
from ssl_sweep.data_ops.sources.table import LabelTable

_REGIONS = {"1": "patches_fr", "2": "patches_us"}


@dataclasses.dataclass(frozen=True)
class GeoLifeClefSource(SplitHere):
    """`root` holds patches_fr and patches_us. `train`, `test`: CSV files; or `train` with a column `split`.

    `id` is the column of the observations; `levels` are label columns, fine to coarse, empty where there is
    no label; `group` names a column. Observation 10123456 is patches_fr/56/34/10123456_rgb.jpg; those
    that start with 2 are in patches_us.
    """

    root: str
    train: str
    test: str | None = None
    id: str = "observation_id"
    levels: tuple[str, ...] = ("label",)
    group: str | None = None
    split: str | None = None
    version: ClassVar[str] = ""

    @property
    def label_levels(self) -> tuple[str, ...]:
        return self.levels

    def listing(self, split: Split) -> Listing | None:
        """DataError for missing folders or columns, or an id that is none of an observation."""
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
            raise DataError(f"{root}: neither patches_fr nor patches_us is here; unpack the patches")
        return table.listing(split, functools.partial(_patch, root, where))


def _patch(root: Path, table: str, id: str) -> str:
    """The file of an observation: by its region, its last two digits and the two before."""
    if not (id.isdecimal() and len(id) > 4 and id[0] in _REGIONS):
        raise DataError(f"{table}: {id!r} is no observation id; they start with 1 (France) or 2 (US)")
    return str(root / _REGIONS[id[0]] / id[-2:] / id[-4:-2] / f"{id}_rgb.jpg")
