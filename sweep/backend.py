"""What runs stages: the contract between the orchestrator and Ray (or any other executor)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sweep.nodes import Node


@dataclass(frozen=True)
class Outcome:
    """What became of one stage: it is ``running``, or ended ``complete``, ``failed`` or ``interrupted``."""

    node_id: str
    status: str
    message: str = ""


class Backend(Protocol):
    """Runs stages somewhere and says how they ended.

    The store stays the truth: an outcome only tells the orchestrator when to look.
    """

    def train(self, nodes: Sequence[Node]) -> None:
        """Take every given training; run as many at a time as the resources allow, in the given order. Not
        called again before all of them have ended."""

    def submit(self, nodes: Sequence[Node]) -> None:
        """Start one piece of light work: stages of one kind that share their input."""

    def poll(self, timeout: float) -> list[Outcome]:
        """Wait at most ``timeout`` seconds and return what ended, or began, since the last call."""

    @property
    def light_slots(self) -> int:
        """How many pieces of light work are worth having in flight."""

    def close(self) -> None:
        """Release workers; running work is dropped."""
