"""The states of stages and cells, and the reasons for them: one vocabulary for plan, scheduler and status."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

State = Literal["to_run", "running", "elsewhere", "complete", "failed", "blocked", "interrupted"]
"""State of a stage. A plan knows ``to_run`` and ``complete``.

running      a driver has leased it
elsewhere    seen by a driver: another driver has leased it
failed       it failed when it ran last, and is not retried
blocked      a stage that it needs failed
interrupted  the run stopped before it ended
"""
STATES: tuple[State, ...] = ("complete", "running", "to_run", "failed", "blocked")
"""The states that can be read from the store."""

Reason = Literal[
    "new",
    "upstream changed",
    "version raised",
    "missing",
    "damaged",
    "failed before",
    "complete",
    "not needed again",
]
"""Why a plan has a stage in its state; see ``planning.reasons``."""

CellStatus = Literal["complete", "failed", "blocked", "missing"]
"""State of a cell; ``missing`` is not done yet."""
OF_CELLS: Mapping[State, CellStatus] = MappingProxyType(
    {
        "complete": "complete",
        "failed": "failed",
        "blocked": "blocked",
        "running": "missing",
        "to_run": "missing",
    }
)
"""The state of a cell whose stage is in a state that can be read from the store."""
