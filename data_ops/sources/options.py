"""What every source is: its base class, how its fields are declared, and the fields that sources share.

A grid's keys are derived from the fields: a field's type, default, bounds and description are written here or
in the source, and nowhere else.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ssl_sweep.data_ops.dataset.prepared import Split

if TYPE_CHECKING:
    from ssl_sweep.data_ops.sources.listing import Listing

OnBadImage = Literal["fail", "skip"]
SimilarNames = Literal["fail", "keep"]
MOST_IMAGES = 10**12
"""A larger number of images is surely a typing error."""


def option(
    about: str,
    default: Any = dataclasses.MISSING,
    *,
    path: bool = False,
    later: bool = False,
    **bounds: float,
) -> Any:
    """A field of a source, and the key of a grid that sets it.

    Args:
        about: What the field is: the description in the grid's schema.
        default: Its default; without one, a grid must give the key.
        path: Whether it holds a path or an address, which a grid resolves.
        later: Whether the field was added to a source later. The signature leaves it out while it has its
            default, so that datasets that were prepared before stay valid.
        bounds: ``ge``, ``gt``, ``le`` or ``lt``, which a grid checks.
    """
    metadata = {"about": about, "path": path, "later": later, "bounds": bounds}
    return dataclasses.field(default=default, metadata=metadata)


class Source:
    """A source of images and labels: plain data.

    A subclass is a frozen dataclass. The first sentence of its docstring is its description in a grid. It is
    added with one line in ``registry.SOURCES``.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    test_fraction: float | None = None
    seed: int = 0
    on_bad_image: OnBadImage = "fail"
    hierarchy: str | None = None
    missing: tuple[str, ...] | None = None
    similar_names: SimilarNames = "fail"

    @property
    def version(self) -> str:
        """Changes if the images change although the fields and files do not."""
        return ""

    @property
    def label_levels(self) -> tuple[str, ...]:
        """Names of the label levels, fine to coarse."""
        levels: tuple[str, ...] = getattr(self, "levels", ("label",))
        return levels

    def listing(self, split: Split) -> Listing | None:
        """The images of a split; None if the source has no such split.

        Raises:
            DataError: Files or labels are missing or cannot be read.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserImages(Source):
    """A user's images, which may be broken, and whose classes may have parents."""

    on_bad_image: Literal["fail", "skip"] = option(
        "Whether an image that cannot be decoded stops the run, or is skipped and recorded.",
        "fail",
        later=True,
    )
    hierarchy: str | None = option(
        "JSON or CSV file with the parents of the classes, for a dataset with one label level.",
        None,
        path=True,
        later=True,
    )

    missing: tuple[str, ...] | None = option(
        "Spellings of a missing label or group, instead of -1, nan, None, null, NA, N/A, … An empty cell is"
        " always missing.",
        None,
        later=True,
    )
    similar_names: Literal["fail", "keep"] = option(
        "Whether class names that differ only by case, blanks, leading zeros, Unicode form or look-alike"
        " characters are refused, or differ on purpose. They are kept if both splits have both.",
        "fail",
        later=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitHere(UserImages):
    """Images that can be split here."""

    test_fraction: float | None = option(
        "Share of the labelled images to hold out as test images if there is no test split.",
        None,
        gt=0,
        lt=1,
    )
    seed: int = option("Draw of the held-out images.", 0, ge=0, lt=2**63)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedSplits(UserImages):
    """A public dataset that comes with its own splits."""
