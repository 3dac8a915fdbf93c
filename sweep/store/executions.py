"""The log of finished executions, each once: lines of a file, or objects if nothing can be appended."""

from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ssl_sweep.data_ops.errors import remedy
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.manifest import Execution, Manifest

if TYPE_CHECKING:
    from ssl_sweep.sweep.store.object_records import ObjectStorage


class ExecutionLog(Protocol):
    """The executions of a store."""

    def append(self, manifest: Manifest) -> None:
        """Add the execution of a manifest."""

    def moved(self, manifest: Manifest, former: str) -> None:
        """Count the execution of a manifest as one of its new id."""

    def executions(self) -> list[Execution]:
        """Each execution once, the oldest first."""

    def known(self) -> dict[str, tuple[str, str]]:
        """The stage and the stage's id of each execution, by the execution's id."""


class FileExecutionLog:
    """One line of ``executions.jsonl`` for each execution."""

    def __init__(self, root: Path) -> None:
        self._path = root / "executions.jsonl"

    def append(self, manifest: Manifest) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # a writer died inside a line
            os.write(descriptor, (("\n" if torn else "") + _line(manifest) + "\n").encode())
        finally:
            os.close(descriptor)

    def moved(self, manifest: Manifest, former: str) -> None:
        self.append(manifest)

    def executions(self) -> list[Execution]:
        """In the order of the file, without torn lines. The last line of an execution counts."""
        try:
            lines = self._path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"store: {self._path.name} cannot be read: {error.strerror}",
                hint=f"{self._path}: {remedy(error)}",
            ) from error
        found: dict[str, Execution] = {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                execution = Execution(**json.loads(line))
                found[execution.execution] = execution
        return list(found.values())

    def known(self) -> dict[str, tuple[str, str]]:
        return {e.execution: (e.stage, e.id) for e in self.executions()}


class ObjectExecutionLog:
    """One object for each execution, ``executions/<stage>-<id>-<execution>.json``; most queries need only
    the names."""

    _FOLDER = "executions"

    def __init__(self, storage: ObjectStorage) -> None:
        self._storage = storage

    def append(self, manifest: Manifest) -> None:
        name = f"{manifest.stage}-{manifest.id}-{manifest.run.execution}.json"
        self._storage.put(f"{self._FOLDER}/{name}", _line(manifest).encode())

    def moved(self, manifest: Manifest, former: str) -> None:
        self.append(manifest)
        self._storage.delete(f"{self._FOLDER}/{manifest.stage}-{former}-{manifest.run.execution}.json")

    def executions(self) -> list[Execution]:
        names = list(self._storage.listing(self._FOLDER))
        with ThreadPoolExecutor(16) as pool:
            records = [record for record in pool.map(self._storage.read, names) if record is not None]
        found = [Execution(**json.loads(record.data)) for record in records]
        return sorted(found, key=lambda execution: execution.ended)

    def known(self) -> dict[str, tuple[str, str]]:
        parts = (
            name.rpartition("/")[2].removesuffix(".json") for name in self._storage.listing(self._FOLDER)
        )
        triples = (part.split("-", 2) for part in parts)
        return {execution: (stage, id) for stage, id, execution in triples}


def _line(manifest: Manifest) -> str:
    run = manifest.run
    execution = Execution(
        run.execution, manifest.stage, manifest.id, run.started, run.ended, run.seconds, run.host
    )
    return json.dumps(asdict(execution))
