"""ImageNet-1k as published (ILSVRC 2012): a folder per WordNet id, and a devkit with labels for val."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.folder import files
from ssl_sweep.data_ops.sources.listing import FileImage, Listing, list_files
from ssl_sweep.data_ops.sources.options import PublishedSplits, option
from ssl_sweep.data_ops.sources.walk import images_below

DEVKIT = "ILSVRC2012_devkit_t12/data"
KAGGLE = "LOC_val_solution.csv"


@dataclasses.dataclass(frozen=True)
class ImageNetSource(PublishedSplits):
    """ImageNet-1k (ILSVRC 2012); its val split is test, because the published test images have no labels.

    Classes are WordNet ids. ``root`` has train/WNID and val, or both below Data/CLS-LOC as Kaggle packs them.
    val has class folders, or is flat if ``root`` also has the unpacked ILSVRC2012_devkit_t12 or
    LOC_val_solution.csv.
    """

    root: str = option("The folder, with the published layout. ${VAR} is expanded.", path=True)

    def listing(self, split: Split) -> Listing:
        """The images of a split.

        Raises:
            DataError: A folder is missing, or val is flat and its labels are missing.
        """
        root = Path(self.root)
        data = root / "Data" / "CLS-LOC" if (root / "Data" / "CLS-LOC").is_dir() else root
        folder = data / ("train" if split == "train" else "val")
        flat = folder.is_dir() and not any(entry.is_dir() for entry in folder.iterdir())
        tally = Tally()
        if split == "train" or not flat:
            named = [FileImage(path, (name,)) for path, name in files(str(folder), tally)]
            return list_files(named, passed_over=tally.found)
        images = images_below(folder, tally)
        if not images:
            raise DataError(f"{folder}: no images; put the validation images there")
        label_of, table = _val_labels(root)
        missing = [path for path in images if Path(path).stem not in label_of]
        if missing:
            raise DataError(
                f"{table}: no label for {len(missing)} images of {folder}; add them, or remove the images. "
                f"The first is {missing[0]}"
            )
        known = [FileImage(path, (label_of[Path(path).stem],)) for path in images]
        return list_files(known, table, passed_over=tally.found)


def _val_labels(root: Path) -> tuple[dict[str, str], Path]:
    """(WordNet id of each validation image by its file's stem, the table that says so)."""
    truth = root / DEVKIT / "ILSVRC2012_validation_ground_truth.txt"
    kaggle = root / KAGGLE
    if truth.is_file():
        wnids = _synsets(root / DEVKIT / "meta.mat")
        labels = {}
        for i, line in enumerate(truth.read_text(encoding="utf-8").split(), start=1):
            if line not in wnids:
                raise DataError(f"{truth}:{i}: no class {line!r} in meta.mat; unpack the devkit again")
            labels[f"ILSVRC2012_val_{i:08}"] = wnids[line]
        return labels, truth
    if kaggle.is_file():
        with kaggle.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) > 1 and row[1].strip()]
        return {row[0]: row[1].split()[0] for row in rows[1:]}, kaggle
    raise DataError(
        f"{root}: val is flat, and neither {DEVKIT} nor {KAGGLE} is here to label it; unpack the devkit, or "
        "sort val into class folders"
    )


def _synsets(path: Path) -> dict[str, str]:
    """ILSVRC2012_ID to WordNet id, from the devkit's table. SciPy reads this format without running code."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(str(path), squeeze_me=True)["synsets"]
        return {str(int(entry["ILSVRC2012_ID"])): str(entry["WNID"]) for entry in synsets}
    except Exception as error:  # a damaged file makes scipy raise nearly anything
        raise DataError(f"{path}: cannot be read ({error}); unpack the devkit again") from error
