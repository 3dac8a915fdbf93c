"""What is retried, how often, and what a failure stops, with processes that really die."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fake_stages import FakeWork
from faulty_stages import FaultyWork
from process_workplace import ProcessWorkplace

from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.execution.scheduler import Progress, execute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.run.run import datasets_of
from ssl_sweep.sweep.stages.perform import perform_light
from ssl_sweep.sweep.store.leases import Leases, driving, holders
from ssl_sweep.sweep.store.manifest import Failure

GRID = """
name: faulty
datasets: {objects: {source: synthetic, domain: objects, train: 60, test: 30}}
pretrain: {domain: objects, images: 40, batch: 8, epochs: 1, seed: [0, 1, 2, 3, 4, 5, 6, 7]}
evaluate: {domain: objects, labels: 30, seed: [0, 1]}
"""
RANDOM = """
name: faulty
datasets: {objects: {source: synthetic, domain: objects, train: 60, test: 30}}
pretrain: {method: random, seed: [0, 1, 2]}
evaluate: {domain: objects, labels: 30}
"""


class Case:
    """A prepared plan and one execution of it after the other."""

    def __init__(self, sweeps: Any, text: str = GRID) -> None:
        self.sweeps, self.text, self.store = sweeps, text, sweeps.store
        self.store.check_writable()
        bare = Runtime(store=str(self.store.root), stop_file=sweeps.folder / "stop")
        perform_light(sweeps.plan(text).prepares, bare)
        plan = self.plan()
        self.runtime = Runtime(
            store=bare.store, stop_file=bare.stop_file, datasets=datasets_of(plan, self.store)
        )
        self.faults = sweeps.folder / "faults.json"
        self.faults.write_text("{}")
        self.stop_after = float("inf")
        self.grace_s = 60.0
        self.tick: Callable[[Progress], None] = lambda progress: None
        self.said: list[tuple[str, str, str]] = []

    def plan(self) -> Plan:
        return self.sweeps.plan(self.text)

    @property
    def trainings(self) -> list[PlannedStage]:
        return [stage for stage in self.plan().stages if stage.kind == "pretrain"]

    def prescribe(self, *faults: list[str]) -> list[PlannedStage]:
        """What goes wrong in the first trainings."""
        stages = self.trainings[: len(faults)]
        self.faults.write_text(json.dumps({n.id: f for n, f in zip(stages, faults, strict=True)}))
        self.faults.with_suffix(".attempts").unlink(missing_ok=True)
        return stages

    def attempts(self) -> Counter[str]:
        path = self.faults.with_suffix(".attempts")
        return Counter(path.read_text().split() if path.exists() else [])

    def execute(self) -> Progress:
        plan = self.plan()
        workplace = ProcessWorkplace(FaultyWork(self.faults))
        started = time.monotonic()
        with driving(self.store.storage) as own, workplace.join(None) as cluster:
            runtime = Runtime(**{**vars(self.runtime), "driver": own.driver})
            plans = {stage.id: TrainPlan() for stage in plan.stages if stage.heavy}
            return execute(
                plan.stages,
                workplace.backend(runtime, cluster, plans),
                self.store,
                own,
                stop=lambda: time.monotonic() - started > self.stop_after,
                grace_s=self.grace_s,
                changed=lambda stage, status, message: self.said.append((stage.id, status, message)),
                tick=self.tick,
            )


@pytest.fixture
def case(sweeps: Any) -> Case:
    return Case(sweeps)


def test_every_kind_has_its_retries_and_a_failure_stops_only_what_needs_it(case, caplog):
    caplog.set_level(logging.INFO, logger="ssl_sweep")
    stages = case.prescribe(
        ["kill", "kill"],
        ["kill", "kill", "kill"],
        ["hang"],
        ["hang", "hang"],
        ["data"],
        ["full"],
        ["memory"],
        ["store", "store"],
    )
    twice_killed, killed, hung, hanging, data, full, memory, store = stages
    progress = case.execute()
    assert case.attempts() == {
        twice_killed.id: 3,
        killed.id: 3,
        hung.id: 2,
        hanging.id: 2,
        data.id: 1,
        full.id: 1,
        memory.id: 1,
        store.id: 3,
    }
    failed = {killed: "worker_error", hanging: "hang", data: "data", full: "disk_full", memory: "oom"}
    assert progress.having("failed") == sorted(failed, key=stages.index)
    records = {stage: case.store.failure(stage.kind, stage.id) for stage in stages}
    assert {stage: record.kind for stage, record in records.items() if record} == failed
    assert all(record.final for record in records.values() if record)
    assert records[killed].attempts == {"worker_error": 3} and records[killed].attempt == 3
    assert "exit code -9" in records[killed].message
    assert "time.sleep" in records[hanging].log_tail or "in _fail" in records[hanging].log_tail
    assert "3.png" in progress.stages[data.id].message and records[data].hardware
    below = [stage for stage in case.plan().stages if stage.kind in ("features", "probe")]
    lost = {stage.id for stage in failed}
    for stage in below:
        if lost.intersection(stage.upstream):
            lost.add(stage.id)
    assert {stage.id for stage in progress.having("blocked")} == lost - {stage.id for stage in failed}
    assert len(progress.having("complete")) == len(progress.stages) - len(lost)
    again = [said for said in case.said if said[0] == twice_killed.id and "retried in" in said[2]]
    assert len(again) == 2, "every retry is shown"
    lines = caplog.messages
    assert lines.count(f"pretrain {twice_killed.id}: leased") == 3
    for count, wait in (("1 of 2", 1), ("2 of 2", 2)):
        retried = f"pretrain {twice_killed.id}: retried ({count}) in {wait} s: worker_error: "
        assert sum(line.startswith(retried) for line in lines) == 1
    assert sum(line.startswith(f"pretrain {data.id}: failed: ") for line in lines) == 1
    for stage in progress.having("blocked"):
        assert sum(line.startswith(f"{stage.kind} {stage.id}: blocked by pretrain ") for line in lines) == 1
    assert not holders(case.store.storage), "a lease was left"
    # Once fixed, the same command does what is left, and only that.
    case.prescribe()
    before = len(case.store.executions())
    progress = case.execute()
    assert progress.count() == {"complete": len(progress.stages)}
    assert {stage.id for stage in progress.executed} == lost
    assert len(case.store.executions()) == before + len(lost)
    assert not [stage for stage in stages if case.store.failure(stage.kind, stage.id)]


def test_light_stages_are_retried_by_the_same_rules(sweeps):
    case = Case(sweeps, RANDOM)
    stages = case.prescribe(["kill"], ["data"], ["hang", "hang"])
    progress = case.execute()
    assert progress.having("failed") == [stages[1], stages[2]]
    assert case.attempts() == {stages[0].id: 2, stages[1].id: 1, stages[2].id: 2}


def test_a_failure_that_cannot_be_written_down_still_counts(sweeps):
    case = Case(sweeps, RANDOM)
    (stage,) = case.prescribe(["data"])
    folder = case.store.path(stage.kind, stage.id)
    folder.parent.mkdir(exist_ok=True)
    folder.touch()
    progress = case.execute()
    assert progress.having("failed") == [stage]
    assert "error.json" in progress.stages[stage.id].message and "3.png" in progress.stages[stage.id].message


def test_what_does_not_stop_within_the_grace_is_dropped(case):
    case.prescribe(["sleep"], ["sleep"])
    case.stop_after, case.grace_s = 3.0, 1.0
    progress = case.execute()
    assert progress.count()["interrupted"] > 0
    assert not progress.having("running", "to_run", "failed")
    assert not holders(case.store.storage)


def test_what_another_driver_holds_is_waited_for(sweeps, caplog):
    caplog.set_level(logging.INFO, logger="ssl_sweep")
    case = Case(sweeps, RANDOM)
    finished, failed, given_up = stages = case.trainings
    other = Leases(case.store.storage)
    other.beat()
    for stage in stages:
        assert other.take(stage.kind, stage.id)

    def end(progress: Progress) -> None:
        if progress.having("elsewhere") == stages and holders(case.store.storage):
            FakeWork().light([finished], case.runtime)
            case.store.fail(failed.kind, failed.id, Failure(kind="data", message="3.png is damaged"))
            for stage in stages:
                other.release(stage.kind, stage.id)

    case.tick = end
    progress = case.execute()
    other.end()
    assert [progress.stages[stage.id].state for stage in stages] == ["complete", "failed", "complete"]
    assert progress.stages[failed.id].message == "3.png is damaged (in another run)"
    assert finished not in progress.executed and given_up in progress.executed
    holder = other.driver
    assert f"pretrain {finished.id}: waits, {holder} holds the lease" in caplog.messages
    assert f"pretrain {finished.id}: taken from the store, {holder} finished it" in caplog.messages
    assert f"pretrain {given_up.id}: ready again, {holder} released it" in caplog.messages
    assert {e.id for e in case.store.executions()} == {stage.id for stage in progress.having("complete")}


def test_a_probe_that_kills_its_process_takes_no_other_with_it(sweeps):
    """Probes of the same features share a process. If it dies, each runs by itself to find the cause."""
    text = RANDOM.replace("labels: 30", "labels: [60, 50, 40, 30, 20, 10]").replace(
        "seed: [0, 1, 2]", "seed: 0"
    )
    case = Case(sweeps, text)
    probes = [stage for stage in case.plan().stages if stage.kind == "probe"]
    poison = probes[2]
    case.faults.write_text(json.dumps({poison.id: ["kill"] * 9}))
    progress = case.execute()
    assert progress.having("failed") == [poison]
    assert Counter(progress.stages[stage.id].state for stage in probes) == {"complete": 5, "failed": 1}
    record = case.store.failure("probe", poison.id)
    assert record is not None and record.attempts == {"worker_error": 3}
    assert case.attempts() == {poison.id: 1 + 3}  # once with the others, which is no attempt of any probe
    assert all(case.store.failure("probe", stage.id) is None for stage in probes if stage != poison)
