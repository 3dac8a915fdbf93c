"""The store: results by identity. A stage is finished once its manifest exists, and not before.

    prepare/<id>/   data/dataset.json, data/train.npy, …
    pretrain/<id>/  encoder.safetensors, encoder.json, …
    features/<id>/  x.npy, ids.npy
    predictions/<probe or finetune id>.parquet
    <stage>/<id>/manifest.json   written last, atomically, with the files' checksums; the first writer wins
    <stage>/<id>/error.json      why it failed, while it is not finished
    <stage>/<id>/checkpoint/…    from which an interrupted training resumes
    executions.jsonl             one line for each finished execution (in an object store: executions/)

The store is a folder, or an object store (s3://, gs://, az://) with a cache folder on each node. Callers name
everything by (stage, id).
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
from typing import Any, Literal

from ssl_sweep.data_ops.errors import remedy
from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.spec.files import CHECKPOINT, SHOWN, result_files
from ssl_sweep.sweep.spec.identity import full_form
from ssl_sweep.sweep.spec.specs import STAGES, VERSIONS, Spec, Stage
from ssl_sweep.sweep.store.files import GONE, damaged
from ssl_sweep.sweep.store.manifest import (
    FORM,
    Execution,
    Failure,
    Manifest,
    RunRecord,
    finite,
    utc,
    write_once,
)
from ssl_sweep.sweep.store.open import open_place
from ssl_sweep.sweep.store.records import checked
from ssl_sweep.sweep.util.addresses import DEFAULT_STORE
from ssl_sweep.sweep.util.files import remove_abandoned


class Store:
    """A store at ``uri``: a path, file:///…, or s3://bucket/prefix. Opening it writes nothing.

    Attributes:
        uri: the address, the same for every process.
        storage: the records, by key.
        root: where this node reads and writes files: the store's own folder, or one in the node's cache.
        remote: whether the store is an object store.
    """

    def __init__(self, uri: str | Path = DEFAULT_STORE, *, patience_s: float | None = None) -> None:
        """Open a store.

        Args:
            patience_s: seconds of retrying if an object store does not answer. By default 15 until it has
                answered once, then 120.
        """
        place = open_place(uri, patience_s)
        self.uri, self.root, self.storage = place.uri, place.root, place.storage
        self._files, self._executions, self._folder = place.files, place.executions, place.folder
        self.remote = place.files.remote
        self._distrusted: set[str] = set()

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def check_writable(self) -> None:
        """Raises StoreError if a record cannot be written and deleted, as a commit does."""
        probe = f".write-test-{uuid.uuid4().hex}"
        try:
            self._folder.establish()
            self.storage.create(probe, b"ssl-sweep")
            self.storage.delete(probe)
        except OSError as error:
            raise StoreError(
                f"store {str(self.root)!r} cannot be written: {error.strerror or error}",
                hint=f"{remedy(error)}, or choose another folder with --store",
            ) from error

    def present(self) -> bool:
        """Whether the store's folder is still there, as far as this process can tell.

        Requests to an object store fail by themselves if it is away.
        """
        return self._folder.there()

    def require_existing(self) -> None:
        """Raises StoreError if the store is a folder that does not exist."""
        if not self.remote and not self.root.is_dir():
            raise StoreError(
                f"found no store at {self.uri}", hint="name it with --store, or run the grid first"
            )

    # Paths and ids ----------------------------------------------------------------------------------

    def path(self, stage: Stage, id: str) -> Path:
        """The folder on this node to which a stage writes its files. This call does not create it."""
        return self.root / stage / checked(id)

    def predictions(self, probe_id: str) -> Path:
        """The Parquet file with the predictions of a probe or a fine-tuning."""
        return self.root / "predictions" / f"{checked(probe_id)}.parquet"

    def ids(self, stage: Stage) -> list[str]:
        """Every id of a stage that has any file, finished or not, sorted."""
        return self._files.ids(stage)

    def survey(self) -> AbstractContextManager[None]:
        """A block with many queries: an object store is listed once, at the start, instead of once a stage,
        and counts as unchanged until the end."""
        return self._files.survey()

    def there(self, key: str) -> bool:
        """Whether a record or a file exists; also False if an object store does not answer at once."""
        return self._files.there(key)

    # Finished stages --------------------------------------------------------------------------------

    def finished(self, stage: Stage, id: str) -> bool:
        """Whether a stage has a manifest. This is the fastest check."""
        return self._files.size(f"{stage}/{id}/manifest.json") is not None

    def complete(self, stage: Stage, id: str) -> Manifest | None:
        """The manifest of a finished stage if all its files exist in their full size, else None."""
        manifest = self.manifest(stage, id)
        if manifest is None or manifest.run.execution in self._distrusted:
            return None
        size = self._files.size
        return manifest if all(size(name) == full for name, full in manifest.files.items()) else None

    def manifest(self, stage: Stage, id: str) -> Manifest | None:
        """The manifest of a stage that finished once, even if its files are gone by now.

        Returns None for a damaged manifest: the stage counts as missing and runs again.
        """
        data = self.record(stage, id)
        return Manifest.parse(data) if data is not None else None

    def manifests(self, stage: Stage) -> Iterator[Manifest]:
        """The manifest of every finished stage, in the order of ids, without checking its files."""
        for id in self.ids(stage):
            if (manifest := self.manifest(stage, id)) is not None:
                yield manifest

    def fetch(self, stage: Stage, id: str, only: Iterable[str] = ()) -> Path:
        """Fetch the files of a finished stage as they were committed, to be read or memory-mapped.

        Each file is compared with its checksum once per process.

        Args:
            only: names of the files to fetch, relative to the stage's folder; by default all.

        Returns:
            The stage's folder; ``predictions`` returns the path of its predictions.

        Raises:
            DamagedError: a file is missing, or is not the committed one.
        """
        wanted = {f"{stage}/{id}/{name}" for name in only}
        try:
            self._fetch(stage, id, wanted)
        except DamagedError:
            if not self.remote:
                raise
            self._files.forget(f"{stage}/{id}/manifest.json")  # the stage may have run again meanwhile
            self._fetch(stage, id, wanted)
        return self.path(stage, id)

    def _fetch(self, stage: Stage, id: str, wanted: set[str]) -> None:
        manifest = self.manifest(stage, id)
        if manifest is None:
            raise damaged(f"{stage}/{id}/manifest.json", "is gone or cannot be read")
        for name, size in manifest.files.items():
            if not wanted or name in wanted:
                self._files.fetch(name, size, manifest.sha256.get(name, ""))

    def distrust(self, stage: Stage, id: str) -> None:
        """Treat a stage's result as damaged until the stage runs again, because its content was found wrong.

        This holds in this process only and writes nothing.
        """
        if (manifest := self.manifest(stage, id)) is not None:
            self._distrusted.add(manifest.run.execution)

    def prefetch(self, stages: Iterable[tuple[Stage, str]]) -> None:
        """Fetch many small results of an object store concurrently."""
        if self.remote:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda key: self.fetch(*key), stages))

    def damage(self, stage: Stage, id: str) -> Literal["", "missing", "damaged"]:
        """What is wrong with a finished stage, without reading its files.

        Returns:
            "damaged" or "missing"; "" if it looks sound or never finished.
        """
        if (data := self.record(stage, id)) is None:
            return ""
        manifest = Manifest.parse(data)
        if manifest is None or manifest.run.execution in self._distrusted:
            return "damaged"
        sizes = {name: self._files.size(name) for name in manifest.files}
        if None in sizes.values():
            return "missing"
        return "" if sizes == manifest.files else "damaged"

    def record(self, stage: Stage, id: str) -> bytes | None:
        """The bytes of the manifest, damaged or not; None if there is no manifest."""
        return self._files.read(checked(f"{stage}/{id}/manifest.json"))

    def fault(self, manifest: Manifest, name: str) -> str:
        """Read a manifest's file completely and say what is wrong with it; '' if it is sound."""
        return self._files.fault(name, manifest.files[name], manifest.sha256.get(name, ""))

    def withdraw(self, stage: Stage, id: str) -> bool:
        """Delete a stage's manifest, so that the stage runs again. Its executions stay in the log.

        Returns:
            False if there is no manifest, or another process has replaced it.
        """
        key = f"{stage}/{id}/manifest.json"
        record = self.storage.read(key)
        withdrawn = record is not None and self.storage.swap(key, record.version, None)
        self._files.forget(key)
        return withdrawn

    def commit(
        self,
        stage: Stage,
        id: str,
        spec: Spec,
        upstream: Sequence[str],
        outputs: Mapping[str, Any],
        run: RunRecord,
    ) -> bool:
        """Mark a stage finished: save its files first, then its manifest, then its execution.

        Two processes may perform the same stage at the same time if they put its files in place by renaming.

        Returns:
            False if another process finished the stage before: its manifest stays, and this execution is not
            counted.

        Raises:
            StoreError: one of the stage's files is missing.
        """
        saved = {}
        for name in result_files(stage, id, self.root):
            try:
                saved[name] = self._files.save(name)
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
            files={name: file.size for name, file in saved.items()},
            sha256={name: file.sha256 for name, file in saved.items()},
            run=run,
            form=FORM,
        )
        won = write_once(self.storage, manifest)
        self._files.forget(manifest.key)
        if not won:
            return False
        self.clear_failure(stage, id)
        self._executions.append(manifest)
        return True

    def adopt(self, old: Manifest, new: Manifest) -> None:
        """Commit a copy of a finished stage under another id. The old one stays; its execution counts as one
        of the new id.

        Raises:
            DamagedError: a file of the stage is missing.
        """
        names = dict(zip(old.files, new.files, strict=True))
        shown = ((f"{s.stage}/{s.id}/{name}" for name in SHOWN) for s in (old, new))
        for name, other in [*names.items(), *zip(*shown, strict=True)]:
            if not self._files.copy(name, other) and name in names:
                raise damaged(name, GONE)
        write_once(self.storage, new)
        self._files.forget(new.key)
        self._executions.moved(new, old.id)

    # Checkpoints and files to look at ---------------------------------------------------------------

    def share(self, stage: Stage, id: str) -> None:
        """Let other nodes see the current state of a stage's files to look at, such as its log."""
        for name in SHOWN:
            self._files.share(f"{stage}/{id}/{name}")

    def extra(self, stage: Stage, id: str, name: str) -> Path | None:
        """The path of a file to look at, such as the log; None if there is no such file."""
        return self._files.newest(f"{stage}/{checked(id)}/{checked(name)}")

    def keep_checkpoint(self, stage: Stage, id: str) -> None:
        """Save the checkpoint in the stage's folder, so that every node can resume from it."""
        self._files.share(f"{stage}/{id}/{CHECKPOINT}")

    def checkpoint(self, stage: Stage, id: str) -> Path | None:
        """The checkpoint from which to resume; None if there is no checkpoint."""
        return self._files.newest(f"{stage}/{id}/{CHECKPOINT}", exactly=True)

    def drop_checkpoint(self, stage: Stage, id: str) -> None:
        """Delete the checkpoint, which a finished training no longer needs."""
        self._files.drop(f"{stage}/{id}/{CHECKPOINT}")
        # A kill may have left half a checkpoint beside it
        shutil.rmtree((self.path(stage, id) / CHECKPOINT).parent, ignore_errors=True)

    def sizes(self, stage: Stage, id: str) -> dict[str, int]:
        """Size in bytes of every existing file of a stage, finished or not, by name."""
        manifest = self.manifest(stage, id)
        names = set(manifest.files if manifest is not None else result_files(stage, id, self.root))
        for name in (*SHOWN, CHECKPOINT, "manifest.json", "error.json"):
            names.add(f"{stage}/{id}/{name}")
        found = {name: self._files.size(name) for name in sorted(names)}
        return {name: size for name, size in found.items() if size is not None}

    def remove(self, stage: Stage, id: str) -> None:
        """Delete everything of a stage, its manifest first. Its executions stay in the log."""
        names = self.sizes(stage, id)
        self.withdraw(stage, id)
        for name in names:
            self._files.drop(name)
        shutil.rmtree(self.path(stage, id), ignore_errors=True)

    # Executions -------------------------------------------------------------------------------------

    def executions(self) -> list[Execution]:
        """Each execution once, the oldest first."""
        return self._executions.executions()

    def executed(self) -> set[tuple[str, str]]:
        """The (stage, id) of every stage that has ever finished."""
        return set(self._executions.known().values())

    def reconcile(self) -> int:
        """Repair what kills left: add executions that have a manifest only, and delete temporary files.

        Returns:
            The number of executions added.
        """
        known = self._executions.known()
        added = 0
        remove_abandoned(self.root / "predictions")
        with self.survey():
            for stage in STAGES:
                for id in self.ids(stage):
                    remove_abandoned(self.path(stage, id))
                for manifest in self.manifests(stage):
                    if manifest.run.execution not in known:
                        self._executions.append(manifest)
                        added += 1
        return added

    # Failures ---------------------------------------------------------------------------------------

    def fail(self, stage: Stage, id: str, failure: Failure) -> None:
        """Record how a stage failed, in place of an earlier failure."""
        key = f"{stage}/{id}/error.json"
        self.storage.put(key, json.dumps(asdict(replace(failure, time=failure.time or utc()))).encode())
        self._files.forget(key)
        self.share(stage, id)

    def failure(self, stage: Stage, id: str) -> Failure | None:
        """How a stage failed last; None if it never failed, or has finished or been cleared since."""
        data = self._files.read(f"{stage}/{id}/error.json")
        return None if data is None else Failure.parse(data)

    def clear_failure(self, stage: Stage, id: str) -> None:
        """Forget how a stage failed."""
        key = f"{stage}/{id}/error.json"
        if self._files.size(key) is not None:
            self.storage.delete(key)
            self._files.forget(key)
