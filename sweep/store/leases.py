"""Which driver works on which stage, if several drivers share a store.

    leases/<stage>-<id>   names the driver that works on a stage
    drivers/<driver>      its heartbeat: a record that changes every few seconds

A driver counts as dead if its process has certainly ended, or if its heartbeat has not changed for a minute
of the observer's own clock. Clocks of two machines are never compared. Leases only save work: the first
manifest finishes a stage, no matter which driver wrote it, so a wrong guess costs time and never a result.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.manifest import utc
from ssl_sweep.sweep.store.records import Record, Storage
from ssl_sweep.sweep.util.processes import Process

BEAT_S = 5.0
"""Seconds between two beats of a driver."""
PATIENCE_S = 60.0
"""Seconds without a beat after which a driver counts as dead."""

_LEASES, _DRIVERS = "leases", "drivers"


@dataclass(frozen=True)
class Holder:
    """The driver that works on a stage."""

    driver: str
    host: str
    since: str
    alive: bool | None
    """None for a process on another machine, where one look cannot tell."""


class Leases:
    """The leases of one driver, whose threads may share this object."""

    def __init__(
        self, storage: Storage, *, clock: Callable[[], float] = time.monotonic, driver: str = ""
    ) -> None:
        self._storage, self._clock = storage.unsynced(), clock
        self.driver = driver or f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._mine = _record(driver=self.driver, since=utc())
        self._held: set[str] = set()
        self._left: set[str] = set()
        self._beats = 0
        self._beaten = clock()
        self._late = False
        self._seen: dict[str, tuple[str | None, float, float]] = {}  # driver → version, first and last look

    # This driver -------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Show other drivers that this one is alive.

        Raises:
            StoreError, OSError: the store does not answer.
        """
        self._beats += 1
        alive = _record(**asdict(Process.this()), beats=self._beats, at=utc())
        self._storage.put(f"{_DRIVERS}/{self.driver}", alive)
        now = self._clock()
        self._late |= now - self._beaten > PATIENCE_S / 2
        self._beaten = now

    def take(self, stage: str, id: str) -> bool:
        """Try to take a lease, from a dead driver if necessary; returns whether this driver holds it now."""
        key = _key(stage, id)
        for _ in range(3):  # another driver may take it or give it back at any moment
            if self._storage.create(key, self._mine) or self._take_over(key):
                self._held.add(key)
                return True
        return False

    def _take_over(self, key: str) -> bool:
        found = self._storage.read(key)
        if found is None:
            return False
        holder = _driver(found)
        return holder == self.driver or (
            self.dead(holder) and self._storage.swap(key, found.version, self._mine)
        )

    def release(self, stage: str, id: str) -> None:
        """Give a lease back, unless another driver holds it by now."""
        self._release(_key(stage, id))

    def _release(self, key: str) -> None:
        found = self._storage.read(key)
        if found is not None and _driver(found) == self.driver:
            self._storage.swap(key, found.version, None)
        self._held.discard(key)

    def lost(self, stage: str, id: str) -> bool:
        """Whether another driver has taken over a lease that this one held."""
        return held_by(self._storage, stage, id) != self.driver

    def was_away(self) -> bool:
        """Whether, since the last call, beats stopped for so long that others may count this driver as dead.

        It was suspended, or the store did not answer.
        """
        late, self._late = self._late, False
        return late

    def leave(self, stage: str, id: str) -> None:
        """Keep a lease beyond ``end``: a thread that is still at work gives it back, or dies with the
        process."""
        self._left.add(_key(stage, id))

    def end(self) -> None:
        """Give all leases back, and remove what dead drivers left."""
        for key in self._held - self._left:
            self._release(key)
        self.tidy()
        if not self._held:  # with a lease left, the record shows others when this process ends
            self._storage.delete(f"{_DRIVERS}/{self.driver}")

    # Others ------------------------------------------------------------------------------------------

    def leased(self) -> set[tuple[str, str]]:
        """The (stage, id) of every lease, whether its driver is dead or alive."""
        return {
            (stage, id) for stage, _, id in (name.partition("-") for name in self._storage.names(_LEASES))
        }

    def tidy(self) -> int:
        """Remove what dead drivers left; returns the number of leases removed."""
        removed = 0
        for name in self._storage.names(_LEASES):
            found = self._storage.read(f"{_LEASES}/{name}")
            if found is not None and self.dead(_driver(found)):
                removed += self._storage.swap(f"{_LEASES}/{name}", found.version, None)
        for driver in self._storage.names(_DRIVERS):
            if driver != self.driver and self.dead(driver):
                self._storage.delete(f"{_DRIVERS}/{driver}")
        return removed

    def dead(self, driver: str) -> bool:
        """Whether a driver is dead. Call this every few seconds: the death of a driver on another machine
        shows only after watching it for a minute."""
        if driver == self.driver:
            return False
        record = self._storage.read(f"{_DRIVERS}/{driver}")
        if record is not None and _process_alive(record) is False:
            return True
        now, version = self._clock(), record.version if record else None
        known = self._seen.get(driver)
        # After a long pause between looks, both this process and the driver may have been asleep.
        if known is None or known[0] != version or now - known[2] > PATIENCE_S / 2:
            self._seen[driver] = (version, now, now)
            return False
        self._seen[driver] = (version, known[1], now)
        return now - known[1] >= PATIENCE_S


@contextmanager
def driving(storage: Storage) -> Iterator[Leases]:
    """Yield a driver's leases while a thread sends its heartbeat. All are given back at the end.

    Raises:
        StoreError, OSError: the store cannot be written at the start.
    """
    leases = Leases(storage)
    leases.beat()
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            with contextlib.suppress(StoreError, OSError):  # the next beat may get through
                leases.beat()

    heart = threading.Thread(target=beat, name="heartbeat", daemon=True)
    heart.start()
    try:
        yield leases
    finally:
        over.set()
        heart.join()
        with contextlib.suppress(StoreError, OSError):  # they expire
            leases.end()


def held_by(storage: Storage, stage: str, id: str) -> str | None:
    """The driver that holds a stage's lease, dead or alive; None without a lease."""
    found = storage.read(_key(stage, id))
    return None if found is None else _driver(found)


def holders(storage: Storage) -> dict[str, Holder]:
    """The holder of every lease, by ``<stage>-<id>``. This looks once and changes nothing."""
    read = {name: storage.read(f"{_LEASES}/{name}") for name in storage.names(_LEASES)}
    leases = {name: lease for name, lease in read.items() if lease is not None}
    known = drivers(storage) if leases else {}
    found = {}
    for name, lease in leases.items():
        driver, since = _driver(lease), str(_parsed(lease).get("since", ""))
        found[name] = replace(known.get(driver, Holder(driver, "", "", None)), since=since)
    return found


def drivers(storage: Storage) -> dict[str, Holder]:
    """Every driver, dead or alive, by its name; ``since`` is its last beat. This looks once and changes
    nothing."""
    found = {}
    for name in storage.names(_DRIVERS):
        if (record := storage.read(f"{_DRIVERS}/{name}")) is not None:
            facts = _parsed(record)
            host, at = str(facts.get("host", "")), str(facts.get("at", ""))
            found[name] = Holder(name, host, at, _process_alive(record))
    return found


def _key(stage: str, id: str) -> str:
    return f"{_LEASES}/{stage}-{id}"


def _record(**facts: Any) -> bytes:
    return json.dumps(facts).encode()


def _parsed(record: Record) -> dict[str, Any]:
    try:
        found = json.loads(record.data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _driver(lease: Record) -> str:
    """The driver that a lease names. A damaged lease has no owner, so it expires."""
    return str(_parsed(lease).get("driver", "unknown"))


def _process_alive(record: Record) -> bool | None:
    facts = _parsed(record)
    try:
        process = Process(**{name: facts[name] for name in Process.__dataclass_fields__})
    except KeyError:
        return None
    return process.alive()
