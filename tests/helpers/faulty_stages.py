"""Fake stages of which some fail the first times, each in the way that a file prescribes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fake_stages import FakeWork

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.failures import failure_of
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.stages.watchdog import Watchdog
from ssl_sweep.sweep.store.log import StageLog


@dataclass(frozen=True)
class FaultyWork:
    """`faults` is a JSON file: stage id → what goes wrong in its first attempts, one word for each. The file
    `faults`.attempts gets a line for every attempt of a stage that is named there."""

    faults: Path

    def light(self, stages: Sequence[PlannedStage], runtime: Runtime) -> list[Outcome]:
        outcomes = []
        for stage in stages:
            outcomes += self._attempt(stage, runtime) or FakeWork().light([stage], runtime)
        return outcomes

    def train(self, stage: PlannedStage, runtime: Runtime, plan: TrainPlan) -> list[Outcome]:
        return self._attempt(stage, runtime) or FakeWork().train(stage, runtime, plan)

    def _attempt(self, stage: PlannedStage, runtime: Runtime) -> list[Outcome]:
        words = json.loads(self.faults.read_text()).get(stage.id)
        if words is None:
            return []
        log = self.faults.with_suffix(".attempts")
        with log.open("a") as file:
            file.write(f"{stage.id}\n")
        number = log.read_text().split().count(stage.id)
        if number > len(words):
            return []
        try:
            self._fail(words[number - 1], stage, runtime)
        except Exception as error:
            return [Outcome(stage.id, "failed", failure_of(error))]
        raise AssertionError(f"{words[number - 1]} did not fail")

    def _fail(self, word: str, stage: PlannedStage, runtime: Runtime) -> None:
        match word:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                log = StageLog(runtime.open_store().path(stage.kind, stage.id))
                log.started(stage.id)
                with Watchdog(log.path, 0.2, 0.2):
                    time.sleep(3600)
            case "sleep":
                time.sleep(3600)
            case "full":
                Path("/dev/full").write_text("x")
            case "data":
                raise DataError("3.png is damaged")
            case "store":
                raise StoreError("the store did not answer")
            case "memory":
                bytearray(2**62)
