"""What a user should know about a plan before a run."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal

from ssl_sweep.sweep.planning.reasons import CHANGED
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.store import Store

NoteKind = Literal[
    "assumed",
    "classes",
    "corruption",
    "damaged",
    "leakage",
    "memory",
    "older",
    "passed over",
    "store",
    "stored",
]


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence about a plan."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        return self.text


def older_form(to_run: Iterable[PlannedStage], planned: Container[str], store: Store) -> str:
    """What to do about trainings in the store whose ids no plan asks for any more; "" without any."""
    if not any(stage.kind == "pretrain" for stage in to_run):
        return ""
    strange = (id for id in store.ids("pretrain") if id not in planned)
    if not any(manifest.old for id in strange if (manifest := store.manifest("pretrain", id)) is not None):
        return ""
    return (
        "An earlier version of ssl-sweep made stages in this store, and their ids have changed;"
        f" to keep them, run: ssl-sweep migrate {store.uri}"
    )


def changed_files(prepares: Iterable[PlannedStage]) -> str:
    """What to do about datasets whose files changed since they were prepared; "" without any."""
    names = [name for stage in prepares if stage.reason == CHANGED for name in stage.datasets]
    if not names:
        return ""
    return (
        f"The files of {', '.join(names)} changed, or were copied, since they were prepared."
        " Run ssl-sweep data prepare GRID: if the images are the same, results in the store are valid again."
    )


def unprepared(prepares: Iterable[PlannedStage], notes: Iterable[Note]) -> str:
    """What a reader of the store should know about its datasets, a line each; "" if there is nothing.

    Everything that depends on a damaged or changed dataset counts as not done until it is prepared again. A
    dataset whose images cannot be read is as the store has it.
    """
    said = [note.text for note in notes if note.kind in ("damaged", "stored")]
    return "\n".join(filter(None, [*said, changed_files(prepares)]))
