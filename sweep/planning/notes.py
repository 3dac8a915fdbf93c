"""What a user should know about a plan before a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ssl_sweep.sweep.planning.reasons import CHANGED
from ssl_sweep.sweep.planning.stages import PlannedStage

NoteKind = Literal["assumed", "corruption", "damaged", "leakage", "memory"]


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence about a plan."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        return self.text


def changed_files(prepares: Iterable[PlannedStage]) -> str:
    """What to do about datasets whose files changed since they were prepared; "" without any."""
    names = [name for stage in prepares if stage.reason == CHANGED for name in stage.datasets]
    if not names:
        return ""
    return (
        f"The files of {', '.join(names)} changed, or were copied, since they were prepared."
        " Run ssl-sweep data prepare GRID: results in the store count again if the images are the same."
    )


def unprepared(prepares: Iterable[PlannedStage], notes: Iterable[Note]) -> str:
    """Why datasets that were prepared must be prepared again, a line each; "" without any.

    Until then, everything that depends on them counts as not done.
    """
    damaged = [note.text for note in notes if note.kind == "damaged"]
    return "\n".join(filter(None, [*damaged, changed_files(prepares)]))
