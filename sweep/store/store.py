"""The store: results by identity. A stage is finished when its manifest is there, and not before.

    prepare/<id>/   data/dataset.json, data/train.npy, …
    pretrain/<id>/  encoder.safetensors, encoder.json, …
    features/<id>/  x.npy, ids.npy
    predictions/<probe or finetune id>.parquet
    <stage>/<id>/manifest.json   written last, atomically, with the files' checksums; the first writer wins
    <stage>/<id>/error.json      why it failed, while it is not finished
    <stage>/<id>/checkpoint/…    where a training that was stopped goes on
    executions.jsonl             one line per execution that was carried to completion (objects: executions/)

It is a folder, or an object store (s3://, gs://, az://) with a folder of this node's cache in front of it.
Everything above speaks in (stage, id).
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.spec.files import CHECKPOINT, SHOWN, result_files
from ssl_sweep.sweep.spec.identity import full_form
from ssl_sweep.sweep.spec.specs import STAGES, VERSIONS, Spec, Stage
from ssl_sweep.sweep.store.files import damaged
from ssl_sweep.sweep.store.manifest import Execution, Failure, Manifest, RunRecord, finite, utc
from ssl_sweep.sweep.store.open import open_place
from ssl_sweep.sweep.store.records import checked
from ssl_sweep.sweep.store.records_ import write_once
from ssl_sweep.sweep.util.files import remove_abandoned

DEFAULT_STORE = "ssl-sweep-store"


class Store:
    """A store at `uri`: a path, file:///…, or s3://bucket/prefix. Opening one writes nothing; see
    `check_writable`.

    Attributes:
        uri: the address, the same for every process.
        storage: the records, by key.
        root: where this node writes and reads files: the store's own folder, or one in its cache.
        remote: the store is an object store.
    """

    def __init__(self, uri: str | Path = DEFAULT_STORE, *, patience_s: float | None = None) -> None:
        """`patience_s`: how long an object store that does not answer is asked again; by default for two
        minutes, and for a few seconds where it never answered."""
        place = open_place(uri, patience_s)
        self.uri, self.root, self.storage = place.uri, place.root, place.storage
        self._shelf, self._journal, self._presence = place.shelf, place.journal, place.presence
        self.remote = place.shelf.remote
        self._distrusted: set[str] = set()

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def check_writable(self) -> None:
        """Writes a record, as a commit does, and takes it away; else StoreError."""
        probe = f".write-test-{uuid.uuid4().hex}"
        try:
            self._presence.establish()
            self.storage.create(probe, b"ssl-sweep")
            self.storage.delete(probe)
        except OSError as error:
            raise StoreError(
                f"store {str(self.root)!r} cannot be written: {error.strerror or error}",
                hint="choose another folder with --store, or mend the permissions or the disk",
            ) from error

    def present(self) -> bool:
        """Whether the store's folder is still there, as far as this process can tell; an object store says by
        itself when it is away."""
        return self._presence.there()

    def require_existing(self) -> None:
        """StoreError where the store is a folder that is not there; an object store has none."""
        if not self.remote and not self.root.is_dir():
            raise StoreError(
                f"there is no store at {self.uri}", hint="name it with --store, or run the grid first"
            )

    # Places -----------------------------------------------------------------------------------------

    def path(self, stage: Stage, id: str) -> Path:
        """The folder of this node in which a stage's files are written; not made by this call."""
        return self.root / stage / checked(id)

    def predictions(self, probe_id: str) -> Path:
        """The Parquet file of a probe's predictions."""
        return self.root / "predictions" / f"{checked(probe_id)}.parquet"

    def ids(self, stage: Stage) -> list[str]:
        """Every id of which there is anything, finished or not, sorted."""
        return self._shelf.ids(stage)

    def survey(self) -> AbstractContextManager[None]:
        """A block that asks for much: an object store is listed once at its beginning, instead of being asked
        for each stage, and is taken to be like that until its end."""
        return self._shelf.survey()

    def there(self, key: str) -> bool:
        """Whether there is a record or a file; False also where an object store does not answer at once."""
        return self._shelf.there(key)

    # Finished stages --------------------------------------------------------------------------------

    def finished(self, stage: Stage, id: str) -> bool:
        """Whether a stage has a manifest: the quickest look."""
        return self._shelf.size(f"{stage}/{id}/manifest.json") is not None

    def complete(self, stage: Stage, id: str) -> Manifest | None:
        """The manifest of a finished stage whose files are all there in their full size, else None."""
        manifest = self.manifest(stage, id)
        if manifest is None or manifest.run.execution in self._distrusted:
            return None
        size = self._shelf.size
        return manifest if all(size(name) == bytes for name, bytes in manifest.files.items()) else None

    def manifest(self, stage: Stage, id: str) -> Manifest | None:
        """The manifest of a stage that finished once, whether or not its files are still there. A damaged
        one is none: the stage counts as missing and runs again."""
        data = self.record(stage, id)
        return Manifest.parse(data) if data is not None else None

    def manifests(self, stage: Stage) -> Iterator[Manifest]:
        """The manifest of every finished stage, in the order of ids; files are not looked at."""
        for id in self.ids(stage):
            if (manifest := self.manifest(stage, id)) is not None:
                yield manifest

    def fetch(self, stage: Stage, id: str, only: Iterable[str] = ()) -> Path:
        """The folder with the files of a finished stage as they were committed, to be read or memory-mapped;
        its predictions are where `predictions` says. `only`: some of the files, named within the folder.

        Each file is compared with its checksum once per process.

        Raises:
            DamagedError: names a file that is gone, or not the one that was committed.
        """
        wanted = {f"{stage}/{id}/{name}" for name in only}
        try:
            self._bring(stage, id, wanted)
        except DamagedError:
            if not self.remote:
                raise
            self._shelf.forget(f"{stage}/{id}/manifest.json")  # it may have been done again meanwhile
            self._bring(stage, id, wanted)
        return self.path(stage, id)

    def _bring(self, stage: Stage, id: str, wanted: set[str]) -> None:
        manifest = self.manifest(stage, id)
        if manifest is None:
            raise damaged(f"{stage}/{id}/manifest.json", "is gone or cannot be read")
        for name, size in manifest.files.items():
            if not wanted or name in wanted:
                self._shelf.bring(name, size, manifest.sha256.get(name, ""))

    def distrust(self, stage: Stage, id: str) -> None:
        """Count what this execution of a stage left as damaged, by what was read of it and a look cannot see;
        until it is done again, and in this process. Nothing is written."""
        if (manifest := self.manifest(stage, id)) is not None:
            self._distrusted.add(manifest.run.execution)

    def prefetch(self, stages: Iterable[tuple[Stage, str]]) -> None:
        """Fetch many small results at a time, where each would take a request of its own."""
        if self.remote:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda key: self.fetch(*key), stages))

    def damage(self, stage: Stage, id: str) -> str:
        """What is wrong with a stage that finished, as far as a look without reading its files can tell:
        "damaged" or "missing", "" for nothing, or where it never finished."""
        if (data := self.record(stage, id)) is None:
            return ""
        manifest = Manifest.parse(data)
        if manifest is None or manifest.run.execution in self._distrusted:
            return "damaged"
        sizes = {name: self._shelf.size(name) for name in manifest.files}
        if None in sizes.values():
            return "missing"
        return "" if sizes == manifest.files else "damaged"

    def record(self, stage: Stage, id: str) -> bytes | None:
        """The manifest as it is, damaged or not; None where there is none."""
        return self._shelf.read(checked(f"{stage}/{id}/manifest.json"))

    def fault(self, manifest: Manifest, name: str) -> str:
        """What is wrong with one of the files of a manifest, every byte of it read; '' for nothing."""
        return self._shelf.fault(name, manifest.files[name], manifest.sha256.get(name, ""))

    def withdraw(self, stage: Stage, id: str) -> bool:
        """Take a stage's manifest away, so that it is done again; False where there is none, or a new one by
        now. What was executed stays noted."""
        key = f"{stage}/{id}/manifest.json"
        record = self.storage.read(key)
        gone = record is not None and self.storage.swap(key, record.version, None)
        self._shelf.forget(key)
        return gone

    def commit(
        self,
        stage: Stage,
        id: str,
        spec: Spec,
        upstream: Sequence[str],
        outputs: Mapping[str, Any],
        run: RunRecord,
    ) -> bool:
        """Marks a stage finished: its files are in safety first, then the manifest, then the execution.
        Two processes may do one stage at the same time if they put its files in place by renaming.

        False where another process finished the same stage before: its manifest stays and this execution
        is not counted. StoreError where one of the stage's files is missing.
        """
        kept = {}
        for name in result_files(stage, id, self.root):
            try:
                kept[name] = self._shelf.keep(name)
            except FileNotFoundError:
                raise StoreError(f"{stage} {id} cannot be committed: {name} was not written") from None
        self.share(stage, id)
        manifest = Manifest(
            stage=stage,
            id=id,
            version=VERSIONS[stage],
            spec=full_form(spec),
            upstream=tuple(upstream),
            outputs=finite(outputs),
            files={name: file.size for name, file in kept.items()},
            sha256={name: file.sha256 for name, file in kept.items()},
            run=run,
        )
        won = write_once(self.storage, manifest)
        self._shelf.forget(manifest.key)
        if not won:
            return False
        self.clear_failure(stage, id)
        self._journal.append(manifest)
        return True

    # What is not a result ---------------------------------------------------------------------------

    def share(self, stage: Stage, id: str) -> None:
        """Let other nodes see the files of a stage that are there to be looked at, as they are now."""
        for name in SHOWN:
            self._shelf.share(f"{stage}/{id}/{name}")

    def extra(self, stage: Stage, id: str, name: str) -> Path | None:
        """One of the files that are there to be looked at, None where there is none."""
        return self._shelf.newest(f"{stage}/{checked(id)}/{checked(name)}")

    def keep_checkpoint(self, stage: Stage, id: str) -> None:
        """Put the checkpoint in the stage's folder where every node can go on from it."""
        self._shelf.share(f"{stage}/{id}/{CHECKPOINT}")

    def checkpoint(self, stage: Stage, id: str) -> Path | None:
        """The checkpoint to go on from, None where there is none."""
        return self._shelf.newest(f"{stage}/{id}/{CHECKPOINT}", exactly=True)

    def drop_checkpoint(self, stage: Stage, id: str) -> None:
        """A finished training needs none any more."""
        self._shelf.drop(f"{stage}/{id}/{CHECKPOINT}")
        # With the half of one that a kill may have left beside it
        shutil.rmtree((self.path(stage, id) / CHECKPOINT).parent, ignore_errors=True)

    def sizes(self, stage: Stage, id: str) -> dict[str, int]:
        """Bytes of every file of a stage that is there, finished or not, by name."""
        manifest = self.manifest(stage, id)
        names = set(manifest.files if manifest is not None else result_files(stage, id, self.root))
        for name in (*SHOWN, CHECKPOINT, "manifest.json", "error.json"):
            names.add(f"{stage}/{id}/{name}")
        found = {name: self._shelf.size(name) for name in sorted(names)}
        return {name: size for name, size in found.items() if size is not None}

    def remove(self, stage: Stage, id: str) -> None:
        """Delete all there is of a stage, its manifest first; what was executed stays noted."""
        names = self.sizes(stage, id)
        self.withdraw(stage, id)
        for name in names:
            self._shelf.drop(name)
        shutil.rmtree(self.path(stage, id), ignore_errors=True)

    # Executions -------------------------------------------------------------------------------------

    def executions(self) -> list[Execution]:
        """Each execution once, the oldest first."""
        return self._journal.executions()

    def executed(self) -> set[tuple[str, str]]:
        """(stage, id) of everything that was carried to completion at some time."""
        return set(self._journal.known().values())

    def reconcile(self) -> int:
        """Adds the executions that a kill between manifest and execution lost, and removes temporary files
        that a kill left. Returns the number of executions added."""
        known = self._journal.known()
        added = 0
        remove_abandoned(self.root / "predictions")
        with self.survey():
            for stage in STAGES:
                for id in self.ids(stage):
                    remove_abandoned(self.path(stage, id))
                for manifest in self.manifests(stage):
                    if manifest.run.execution not in known:
                        self._journal.append(manifest)
                        added += 1
        return added

    # Failures ---------------------------------------------------------------------------------------

    def fail(self, stage: Stage, id: str, failure: Failure) -> None:
        """Keeps how a stage failed, in place of an earlier failure of it."""
        key = f"{stage}/{id}/error.json"
        self.storage.put(key, json.dumps(asdict(replace(failure, time=failure.time or utc()))).encode())
        self._shelf.forget(key)
        self.share(stage, id)

    def failure(self, stage: Stage, id: str) -> Failure | None:
        """How a stage failed last, None where it did not or was finished or cleared since."""
        data = self._shelf.read(f"{stage}/{id}/error.json")
        return None if data is None else Failure.parse(data)

    def clear_failure(self, stage: Stage, id: str) -> None:
        """Forgets a failure."""
        key = f"{stage}/{id}/error.json"
        if self._shelf.size(key) is not None:
            self.storage.delete(key)
            self._shelf.forget(key)
