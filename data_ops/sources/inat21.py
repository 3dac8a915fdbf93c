"""iNaturalist 2021, full or mini, as published: annotations in COCO's style, seven taxonomic levels."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import FileImage, Listing, list_files, read_otherwise
from ssl_sweep.data_ops.sources.options import PublishedSplits, option

RANKS = ("species", "genus", "family", "order", "class", "phylum", "kingdom")


@dataclasses.dataclass(frozen=True)
class INat21Source(PublishedSplits):
    """iNaturalist 2021, species to kingdom; its val split is test.

    The published test images have no labels. ``root`` has train.json or train_mini.json, val.json, and the
    image folders that they name. A name that a rank has under two parents is given with its parent, as in
    "Prunella (Lamiaceae)".
    """

    root: str = option("The folder, with the published layout. ${VAR} is expanded.", path=True)
    variant: Literal["full", "mini"] = option("The full or the mini training set.", "full")

    @property
    def label_levels(self) -> tuple[str, ...]:
        return RANKS

    def listing(self, split: Split) -> Listing:
        """The images of a split.

        Raises:
            DataError: A file or a field is missing, or an image has no category.
        """
        if self.variant not in ("full", "mini"):
            raise DataError(f"no variant {self.variant!r} of iNat21; use full or mini")
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
            raise DataError(f"{path}: {error} is missing; download the file again") from error
        except (TypeError, AttributeError) as error:
            raise DataError(f"{path}: not iNat21's annotations ({error}); download the file again") from error
        if not images:
            raise DataError(f"{path}: no images; download the file again")
        listing = list_files(images, path)
        return listing if lineage == names else read_otherwise(listing, "repeated names with their parents")


def _names(category: dict[str, Any]) -> tuple[str, ...]:
    """The names at all ranks. The field of the species is called ``name``."""
    return tuple(str(category["name" if rank == "species" else rank]) for rank in RANKS)


def _distinct(names: dict[Any, tuple[str, ...]]) -> dict[Any, tuple[str, ...]]:
    """The names by category. A name that is used under two parents gets its parent added.

    Zoology and botany give names independently: Prunella is a genus of birds and a genus of plants, which
    would become one class.
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
        raise DataError(f"{path}: not valid JSON ({error}); download the file again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not iNat21's annotations; download the file again")
    return content
