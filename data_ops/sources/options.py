"""Fields that sources share. They come after a source's own fields and are keyword-only."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

LATER = {"later": True}
"""Marks a field that was added to a source later. The signature leaves it out while it has its default, so
that datasets that were prepared before stay valid."""

OnBadImage = Literal["fail", "skip"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserImages:
    """A user's images, which may be broken, and whose classes may have parents."""

    on_bad_image: OnBadImage = dataclasses.field(default="fail", metadata=LATER)
    """Whether an image that cannot be decoded stops the preparation, or is skipped and recorded."""
    hierarchy: str | None = dataclasses.field(default=None, metadata=LATER)
    """A JSON or CSV file with the parents of the classes (see ``sources.hierarchy``)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitHere(UserImages):
    """Images that can be split here."""

    test_fraction: float | None = None
    """The share of the labelled images to hold out as the test split; None if the source has its own."""
    seed: int = 0
    """Seeds the choice of the images that are held out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedSplits(UserImages):
    """A public dataset that comes with its own splits."""

    test_fraction: ClassVar[None] = None
    seed: ClassVar[int] = 0
