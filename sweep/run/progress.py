"""The progress of a run: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ssl_sweep.sweep.cost.rates import images_seen
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import STAGES, PretrainSpec
from ssl_sweep.sweep.spec.states import STATES, State

if TYPE_CHECKING:
    from ssl_sweep.sweep.execution.scheduler import Progress

_REFRESH_S = 0.5


class Listener(Protocol):
    """Receives every change of a run."""

    def planned(self, stages: Iterable[PlannedStage], root: Path) -> None:
        """The stages to follow, and the store's folder."""

    def changed(self, stage: PlannedStage, state: State, message: str) -> None:
        """A stage has a new state."""

    def tick(self, progress: Progress) -> None:
        """Called several times a second."""

    def say(self, text: str) -> None:
        """Show one line."""

    def close(self) -> None:
        """The run is over."""


@dataclass(frozen=True)
class Pace:
    """How far the trainings are: images done, images in all, and images per second since the start."""

    done: float
    total: float
    rate: float

    @property
    def eta_s(self) -> float | None:
        """Seconds until the trainings end; None before the rate is known."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


class PaceMeter:
    """Reads the epochs that running trainings log in their folders."""

    def __init__(self, folder_of: dict[str, Path]) -> None:
        self._folders = folder_of
        self._start: tuple[float, float] | None = None

    def read(self, progress: Progress) -> Pace:
        """The pace now. The rate counts from the first reading, so a resumed training does not inflate it."""
        done = total = 0.0
        for one in progress.stages.values():
            stage = one.stage
            if not stage.trains or one.state not in ("running", "complete", "to_run"):
                continue
            assert isinstance(stage.spec, PretrainSpec)
            images = images_seen(stage.spec)
            total += images
            if one.state == "complete":
                done += images
            elif one.state == "running":
                config = stage.spec.config
                per_epoch = sum(part.images for part in stage.spec.parts) // config.batch
                logged = _epochs_logged(self._folders[stage.id]) * per_epoch
                done += min(images, logged * config.batch)
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        since, at_start = self._start
        rate = (done - at_start) / (now - since) if now > since + 1 else 0.0
        return Pace(done, total, rate)


def _epochs_logged(folder: Path) -> int:
    try:
        lines = (folder / "epochs.jsonl").read_text().splitlines()
        return int(json.loads(lines[-1])["epoch"]) + 1 if lines else 0
    except (OSError, ValueError, KeyError):
        return 0


def duration(seconds: float) -> str:
    """``75`` → ``1 min 15 s``; hours without seconds."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class LineListener:
    """One line per change of a stage; for logs and pipes."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def planned(self, stages: Iterable[PlannedStage], root: Path) -> None:
        """Nothing before the first change."""

    def changed(self, stage: PlannedStage, state: State, message: str) -> None:
        if state != "elsewhere" or stage.heavy:  # another driver may do thousands of probes
            why = f": {message}" if message else ""
            self.say(f"{stage.kind} {stage.id} {_shown(state)}: {stage.label}{why}")

    def tick(self, progress: Progress) -> None:
        """Nothing between changes."""

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to close."""


class LiveListener:
    """A table by stage, redrawn in place; failures stay above it."""

    def __init__(self, console: Console) -> None:
        self._console, self._meter = console, PaceMeter({})
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0

    def planned(self, stages: Iterable[PlannedStage], root: Path) -> None:
        """Remember the trainings; their logged epochs give the pace."""
        self._meter = PaceMeter({stage.id: root / stage.kind / stage.id for stage in stages if stage.trains})

    def changed(self, stage: PlannedStage, state: State, message: str) -> None:
        if state == "failed":
            self._console.print(
                f"[red]failed[/red] {stage.kind} {stage.id} {escape(f'{stage.label}: {message}')}"
            )

    def tick(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._drawn >= _REFRESH_S:
            self._drawn = now
            self._live.start()  # not earlier: an error before the first table would leave it open
            self._live.update(progress_table(progress, self._meter.read(progress)), refresh=True)

    def say(self, text: str) -> None:
        self._console.print(escape(text))

    def close(self) -> None:
        self._live.stop()


def _shown(state: State) -> str:
    return "waiting" if state == "to_run" else state


def progress_table(progress: Progress, pace: Pace) -> Table:
    """Stages by state, with the trainings' pace and the time left."""
    left = pace.eta_s
    caption = f"{pace.rate:,.0f} images/s" + (f" · trainings end in {duration(left)}" if left else "")
    table = Table(caption=caption if pace.rate else None, caption_justify="left")
    table.add_column("stage")
    states: list[State] = [*STATES]
    states[2:2] = ["elsewhere"] if progress.having("elsewhere") else []
    for state in states:
        table.add_column(_shown(state), justify="right")
    for stage in STAGES:
        count = progress.count(stage)
        if count:
            table.add_row(stage, *(str(count[state]) if count[state] else "·" for state in states))
    return table


def listener_for(console: Console) -> Listener:
    """The live table on a terminal, lines elsewhere."""
    return LiveListener(console) if console.is_terminal else LineListener()
