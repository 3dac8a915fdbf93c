"""Fields that sources share. They come after a source's own fields and are given by name."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

LATER = {"later": True}
"""Marks a field added to a source that was already in use: at its default it is left out of the signature,
so that what was prepared before stays valid."""

OnBadImage = Literal["fail", "skip"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserImages:
    """Images that may be broken, and labels that a table may place in a hierarchy.

    `on_bad_image`: an undecodable image ends the preparation, or is left out and recorded. `hierarchy`: a
    JSON or CSV file with the parents of the classes (see `data_ops.hierarchy`).
    """

    on_bad_image: OnBadImage = dataclasses.field(default="fail", metadata=LATER)
    hierarchy: str | None = dataclasses.field(default=None, metadata=LATER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitHere(UserImages):
    """Images of which `test_fraction` may be held out, drawn by `seed` and image id."""

    test_fraction: float | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedSplits(UserImages):
    """A public data set with splits of its own."""

    test_fraction: ClassVar[None] = None
    seed: ClassVar[int] = 0
