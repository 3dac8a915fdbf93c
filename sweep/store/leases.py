"""Who works on what, where several drivers share a store.

    leases/<stage>-<id>   names the driver that works on a stage
    drivers/<driver>      its heartbeat: a record that changes every few seconds

A driver is dead where its process is surely gone, or where its heartbeat has stood still for a minute of the
observer's own clock; clocks of two machines are never compared. Leases only save work: a stage is finished by
the first manifest, whoever wrote it, so that a wrong guess costs time and never a result.
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
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.manifest import utc
from ssl_sweep.sweep.store.records import Record, Storage
from ssl_sweep.sweep.util.files import space

BEAT_S = 5.0
"""Seconds between two beats of a driver."""
PATIENCE_S = 60.0
"""Seconds without a beat after which a driver counts as dead."""

_LEASES, _DRIVERS = "leases", "drivers"


@dataclass(frozen=True)
class Process:
    """A process of some machine. `space` is its namespace of process ids: containers have their own."""

    host: str
    boot: str
    space: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> Process:
        return cls(platform.node(), _boot(), space(), os.getpid(), _started(os.getpid()))

    def alive(self) -> bool | None:
        """Whether it is still there; None where this machine cannot tell."""
        if (self.host, self.boot, self.space) != (platform.node(), _boot(), space()):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return None
        return _started(self.pid) == self.started


@dataclass(frozen=True)
class Holder:
    """Who works on a stage. `alive` is None for a process of another machine: one look cannot tell."""

    driver: str
    host: str
    since: str
    alive: bool | None


class Leases:
    """The leases of one driver. Safe to use from several threads of it."""

    def __init__(
        self, storage: Storage, *, clock: Callable[[], float] = time.monotonic, driver: str = ""
    ) -> None:
        self._storage, self._clock = storage.passing(), clock
        self.driver = driver or f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._mine = _record(driver=self.driver, since=utc())
        self._held: set[str] = set()
        self._left: set[str] = set()
        self._beats = 0
        self._beaten = clock()
        self._late = False
        self._seen: dict[str, tuple[str | None, float, float]] = {}  # driver → version, first and last look

    # One's own ---------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Tell the others that this driver lives. StoreError or OSError where the store does not answer."""
        self._beats += 1
        alive = _record(**asdict(Process.this()), beats=self._beats, at=utc())
        self._storage.put(f"{_DRIVERS}/{self.driver}", alive)
        now = self._clock()
        self._late |= now - self._beaten > PATIENCE_S / 2
        self._beaten = now

    def take(self, stage: str, id: str) -> bool:
        """Whether this driver holds the lease now; that of a dead driver is taken over."""
        key = _key(stage, id)
        for _ in range(3):  # somebody else may take or give it back at any moment
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
        """Give a lease back; nothing where it is another driver's by now."""
        self._release(_key(stage, id))

    def _release(self, key: str) -> None:
        found = self._storage.read(key)
        if found is not None and _driver(found) == self.driver:
            self._storage.swap(key, found.version, None)
        self._held.discard(key)

    def lost(self, stage: str, id: str) -> bool:
        """Whether another driver has taken over what this one held."""
        return held_by(self._storage, stage, id) != self.driver

    def was_away(self) -> bool:
        """Whether beats have been missing for so long, since this was last asked, that others may have taken
        this driver for dead: it was suspended, or the store did not answer."""
        late, self._late = self._late, False
        return late

    def leave(self, stage: str, id: str) -> None:
        """Not to be given back at the end: a thread that outlives it is at work, and gives it back itself or
        dies with the process."""
        self._left.add(_key(stage, id))

    def end(self) -> None:
        """Give everything back, and put away what dead drivers left."""
        for key in self._held - self._left:
            self._release(key)
        self.tidy()
        if not self._held:  # else others see by the record when this process is gone
            self._storage.delete(f"{_DRIVERS}/{self.driver}")

    # Others ------------------------------------------------------------------------------------------

    def leased(self) -> set[tuple[str, str]]:
        """Every (stage, id) that somebody holds, dead or alive."""
        return {
            (stage, id) for stage, _, id in (name.partition("-") for name in self._storage.names(_LEASES))
        }

    def tidy(self) -> int:
        """Take away what dead drivers left; how many leases."""
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
        """Whether a driver is dead. To be asked again and again, every few seconds: one of another machine is
        found dead only by watching it for a minute."""
        if driver == self.driver:
            return False
        record = self._storage.read(f"{_DRIVERS}/{driver}")
        if record is not None and _process_alive(record) is False:
            return True
        now, version = self._clock(), record.version if record else None
        known = self._seen.get(driver)
        # Whoever has not looked for long may have been asleep together with the driver.
        if known is None or known[0] != version or now - known[2] > PATIENCE_S / 2:
            self._seen[driver] = (version, now, now)
            return False
        self._seen[driver] = (version, known[1], now)
        return now - known[1] >= PATIENCE_S


@contextmanager
def driving(storage: Storage) -> Iterator[Leases]:
    """A driver's leases, with its heartbeat in a thread; all are given back at the end.

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
    """The driver that holds a stage's lease, dead or alive."""
    found = storage.read(_key(stage, id))
    return None if found is None else _driver(found)


def holders(storage: Storage) -> dict[str, Holder]:
    """Every lease, by `<stage>-<id>`; one look, nothing is changed."""
    read = {name: storage.read(f"{_LEASES}/{name}") for name in storage.names(_LEASES)}
    leases = {name: lease for name, lease in read.items() if lease is not None}
    known = drivers(storage) if leases else {}
    found = {}
    for name, lease in leases.items():
        driver, since = _driver(lease), str(_parsed(lease).get("since", ""))
        found[name] = replace(known.get(driver, Holder(driver, "", "", None)), since=since)
    return found


def drivers(storage: Storage) -> dict[str, Holder]:
    """Every driver, dead or alive, by its name; `since` is its last beat. One look, nothing is changed."""
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
    """A damaged lease is nobody's, and nobody has no heartbeat."""
    return str(_parsed(lease).get("driver", "nobody"))


def _process_alive(record: Record) -> bool | None:
    facts = _parsed(record)
    try:
        process = Process(**{name: facts[name] for name in Process.__dataclass_fields__})
    except KeyError:
        return None
    return process.alive()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot: a process id may be used again. A process that has
    ended and whose parent has not looked yet is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
