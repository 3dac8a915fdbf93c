"""What was found beside the images of a dataset and is not read, counted by reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

Why = Literal["junk", "sidecar", "lost"]
"""junk: what systems and archives leave behind. sidecar: a text about an image. lost: perhaps an image."""
MOST_LOST = 0.01
"""A larger share of the files that could be images is a problem."""


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """Files that are passed over for one reason."""

    reason: str
    """A plural noun, such as "hidden files"."""
    n: int
    example: str
    """The first of them."""
    why: Why

    def __str__(self) -> str:
        return f"{self.n:,} {self.reason}, such as {self.example}"


class Tally:
    """Counts what is passed over while a source is listed."""

    def __init__(self) -> None:
        self._found: dict[str, PassedOver] = {}

    def add(self, reason: str, example: str, why: Why) -> None:
        """Count one file or folder."""
        before = self._found.get(reason)
        self._found[reason] = (
            PassedOver(reason, 1, example, why)
            if before is None
            else dataclasses.replace(before, n=before.n + 1)
        )

    @property
    def found(self) -> tuple[PassedOver, ...]:
        """All that was counted, by reason."""
        return tuple(self._found[reason] for reason in sorted(self._found))


def together(*splits: Iterable[PassedOver]) -> tuple[PassedOver, ...]:
    """The counts of several splits as one."""
    found: dict[str, PassedOver] = {}
    for one in (one for split in splits for one in split):
        before = found.get(one.reason)
        found[one.reason] = one if before is None else dataclasses.replace(before, n=before.n + one.n)
    return tuple(found[reason] for reason in sorted(found))


def lost(passed_over: Iterable[PassedOver], images: int) -> int:
    """How many files count as lost images: not junk, and not one sidecar for each of ``images``."""
    counts = {"junk": 0, "sidecar": 0, "lost": 0}
    for one in passed_over:
        counts[one.why] += one.n
    return counts["lost"] + max(counts["sidecar"] - images, 0)


def too_many(passed_over: Iterable[PassedOver], images: int) -> bool:
    """Whether more than ``MOST_LOST`` of the files that could be images are passed over."""
    missed = lost(passed_over, images)
    return missed > MOST_LOST * (images + missed)


def summary(passed_over: Iterable[PassedOver], images: int) -> str:
    """What was passed over, in one sentence; empty if nothing was.

    Args:
        passed_over: The counts of a dataset.
        images: How many images the dataset has.
    """
    found = tuple(passed_over)
    if not found:
        return ""
    counts = ", ".join(f"{one.n:,} {one.reason}" for one in found)
    if not too_many(found, images):
        return f"beside the images, {counts} are not read"
    return (
        f"beside the images, {counts} are not read; {lost(found, images):,} of them could be images: remove "
        "them, or convert those that are"
    )
