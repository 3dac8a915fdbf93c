"""Drivers that share a store: one holds a lease, dead drivers are detected, and no clock is trusted."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ssl_sweep.sweep.store.leases import PATIENCE_S, Leases, held_by, holders
from ssl_sweep.sweep.store.records import LocalStorage

HOLDER = Path(__file__).parents[2] / "helpers" / "lease_holder.py"
STAGE = ("pretrain", "0123456789")


class Clock:
    """The observer's monotonic clock, moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@contextmanager
def holder(storage: LocalStorage) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A real driver in a process of its own that holds STAGE; its name."""
    command = [sys.executable, str(HOLDER), str(storage.root), *STAGE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            word, name = process.stdout.readline().split()
            assert word == "held"
            yield process, name
        finally:
            process.kill()


def elsewhere(storage: LocalStorage, beat: int, at: datetime) -> str:
    """What a driver on another machine writes, whose clock shows `at`."""
    name = "far-1-abc"
    record = {"host": "far", "boot": "b", "space": "s", "pid": 1, "started": "1", "beats": beat}
    storage.put(f"drivers/{name}", json.dumps({**record, "at": at.isoformat()}).encode())
    return name


def watch(leases: Leases, clock: Clock, seconds: float) -> bool:
    """Try to take STAGE every ten seconds for so long; whether it was got."""
    for _ in range(round(seconds / 10)):
        if leases.take(*STAGE):
            return True
        clock.now += 10
    return leases.take(*STAGE)


def test_one_driver_holds_a_stage_until_it_gives_it_back(storage):
    ours, theirs = Leases(storage), Leases(storage)
    ours.beat(), theirs.beat()
    assert ours.take(*STAGE) and ours.take(*STAGE)
    assert not theirs.take(*STAGE)
    theirs.release(*STAGE)  # not its own: nothing
    assert held_by(storage, *STAGE) == ours.driver
    assert theirs.leased() == {STAGE}
    ours.release(*STAGE)
    assert theirs.take(*STAGE)
    assert ours.lost(*STAGE)
    theirs.end()
    assert storage.names("leases") == []
    assert storage.names("drivers") == [ours.driver]


def test_a_killed_driver_of_this_machine_is_found_dead_at_once(storage):
    with holder(storage) as (process, name):
        leases = Leases(storage)
        assert not leases.take(*STAGE)
        found = holders(storage)["-".join(STAGE)]
        assert (found.driver, found.alive) == (name, True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holders(storage)["-".join(STAGE)].alive is False
        assert leases.take(*STAGE)


def test_what_killed_drivers_left_is_put_away_and_nothing_else(storage):
    living = Leases(storage)
    living.beat()
    assert living.take("probe", "1")
    with holder(storage) as (process, _):
        process.kill()
        process.wait()
    assert Leases(storage).tidy() == 1
    assert storage.names("leases") == ["probe-1"]
    assert storage.names("drivers") == [living.driver]


def test_what_a_thread_still_works_on_is_not_given_back_at_the_end(storage):
    leases, other = Leases(storage), Leases(storage)
    leases.beat()
    assert leases.take(*STAGE) and leases.take("probe", "abc")
    leases.leave(*STAGE)
    leases.end()
    assert other.take("probe", "abc")
    assert not other.take(*STAGE) and not other.dead(leases.driver)
    leases.release(*STAGE)  # by the thread, once it is through
    assert other.take(*STAGE)


def test_a_driver_that_is_suspended_loses_its_stages_and_notices(storage):
    clock = Clock()
    leases = Leases(storage, clock=clock)
    leases.beat()
    with holder(storage) as (process, name):
        process.send_signal(signal.SIGSTOP)
        assert not watch(leases, clock, PATIENCE_S - 10)
        assert watch(leases, clock, 20), f"{name} stands still and was not found dead"
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate("go on\n", timeout=60)
        assert out == "lost\n"
    assert held_by(storage, *STAGE) == leases.driver, "it gave back what was no longer its own"


@pytest.mark.parametrize("skew", [timedelta(minutes=-1), timedelta(minutes=1), timedelta(days=365)])
def test_only_a_heartbeat_counts_whatever_another_machines_clock_shows(storage, skew):
    clock = Clock()
    leases = Leases(storage, clock=clock)
    theirs = datetime.now(UTC) + skew
    storage.put("leases/" + "-".join(STAGE), json.dumps({"driver": elsewhere(storage, 0, theirs)}).encode())
    for beat in range(30):  # it lives, and its clock even runs backwards
        elsewhere(storage, beat + 1, theirs - timedelta(seconds=beat))
        assert not leases.take(*STAGE)
        clock.now += 10
    assert not watch(leases, clock, PATIENCE_S - 20)
    assert watch(leases, clock, 30)


def test_an_observer_that_slept_begins_to_watch_anew(storage):
    clock = Clock()
    leases = Leases(storage, clock=clock)
    name = elsewhere(storage, 1, datetime.now(UTC))
    assert not leases.dead(name)
    clock.now += 3600  # both machines were suspended together
    assert not leases.dead(name)
    for _ in range(6):
        clock.now += 10
        dead = leases.dead(name)
    assert dead


def test_a_driver_knows_that_its_beats_were_late(storage):
    clock = Clock()
    leases = Leases(storage, clock=clock)
    leases.beat()
    clock.now += 5
    leases.beat()
    assert not leases.was_away()
    clock.now += 45
    leases.beat()
    assert leases.was_away()
    assert not leases.was_away(), "once is enough"


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"driver": 7}'])
def test_a_damaged_lease_is_nobodys(storage, data):
    storage.put("leases/" + "-".join(STAGE), data)
    clock = Clock()
    leases = Leases(storage, clock=clock)
    assert not leases.take(*STAGE)
    assert watch(leases, clock, PATIENCE_S + 10)


def race(folder: str, rounds: int, barrier, won) -> None:
    storage = LocalStorage(Path(folder))
    leases = Leases(storage)
    leases.beat()
    for i in range(rounds):
        barrier.wait()
        if leases.take("probe", str(i)):
            won.put(i)
    barrier.wait()


def test_of_many_that_want_a_dead_drivers_stage_one_gets_it(storage):
    rounds, drivers = 20, 3
    with holder(storage) as (process, name):
        process.kill()
        process.wait()
    for i in range(rounds):
        storage.put(f"leases/probe-{i}", json.dumps({"driver": name}).encode())
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(drivers), context.Queue()
    arguments = (str(storage.root), rounds, barrier, won)
    racers = [context.Process(target=race, args=arguments) for _ in range(drivers)]
    for racer in racers:
        racer.start()
    winners = sorted(won.get(timeout=60) for _ in range(rounds))
    for racer in racers:
        racer.join()
    assert winners == list(range(rounds))
    assert won.empty()
