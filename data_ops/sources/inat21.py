"""iNaturalist 2021, full or mini, as it is published: annotations in COCO's style, seven taxonomic levels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import FileImage, Listing, list_files, read_otherwise
from ssl_sweep.data_ops.sources.options import PublishedSplits

RANKS = ("species", "genus", "family", "order", "class", "phylum", "kingdom")


@dataclasses.dataclass(frozen=True)
class INat21Source(PublishedSplits):
    """`root` holds train.json or train_mini.json, val.json and the folders their file names start with.

    The test split is val: the published test images have no labels. A name that a rank has under two parents
    is given with its parent, as in "Prunella (Lamiaceae)".
    """

    root: str
    variant: Literal["full", "mini"] = "full"
    version: ClassVar[str] = ""
    label_levels: ClassVar[tuple[str, ...]] = RANKS

    def listing(self, split: Split) -> Listing:
        """DataError for a missing file, a field that is not there, or an image without a category."""
        if self.variant not in ("full", "mini"):
            raise DataError(f"no variant {self.variant!r} of iNat21; there are full and mini")
        training = "train.json" if self.variant == "full" else "train_mini.json"
        path = Path(self.root) / (training if split == "train" else "val.json")
        content = _read(path)
        try:
            names = {category["id"]: _names(category) for category in content["categories"]}
            lineage = _distinct(names)
            of_image = {note["image_id"]: lineage[note["category_id"]] for note in content["annotations"]}
            images = [
                FileImage(str(Path(self.root) / _inside(path, image["file_name"])), of_image[image["id"]])
                for image in content["images"]
            ]
        except KeyError as error:
            raise DataError(f"{path}: no {error} where it is needed; download the file again") from error
        except (TypeError, AttributeError) as error:
            raise DataError(f"{path}: not iNat21's annotations ({error})") from error
        if not images:
            raise DataError(f"{path}: no images")
        listing = list_files(images, path)
        return listing if lineage == names else read_otherwise(listing, "repeated names with their parents")


def _names(category: dict[str, Any]) -> tuple[str, ...]:
    """The names of all ranks; the species' one is in the field `name`."""
    return tuple(str(category["name" if rank == "species" else rank]) for rank in RANKS)


def _distinct(names: dict[Any, tuple[str, ...]]) -> dict[Any, tuple[str, ...]]:
    """The names by category, where one is used under two parents with the parent added.

    Zoology and botany name apart: Prunella is a genus of birds and one of plants, and would be one class.
    """
    lineages = {category: lineage[-1:] for category, lineage in names.items()}
    for rank in reversed(range(len(RANKS) - 1)):
        parents: dict[str, set[tuple[str, ...]]] = {}
        for category, lineage in names.items():
            parents.setdefault(lineage[rank], set()).add(lineages[category])
        for category, lineage in names.items():
            above = lineages[category]
            shared = len(parents[lineage[rank]]) > 1
            lineages[category] = (f"{lineage[rank]} ({above[0]})" if shared else lineage[rank], *above)
    return lineages


def _inside(path: Path, name: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{path}: the image {name!r} is outside the folder; do not trust it")
    return name


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put the published file there") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); download the file again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not iNat21's annotations")
    return content
