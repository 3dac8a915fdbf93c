"""The store: results by identity. A stage is finished when its manifest is there, and not before.

    prepare/<id>/   data/dataset.json, data/train.npy, …
    pretrain/<id>/  encoder.safetensors, encoder.json, …
    features/<id>/  x.npy, ids.npy
    predictions/<probe or finetune id>.parquet
    <stage>/<id>/manifest.json   written last, atomically; the first of two writers wins
    <stage>/<id>/error.json      why it failed, while it is not finished
    executions.jsonl             one line per execution that was carried to completion

Local folders only for now; an address with another scheme is refused. Everything above this class speaks in
(stage, id), so another kind of storage is another class with these methods.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sweep.errors import StoreError
from sweep.files import remove_abandoned, temporary, whole
from sweep.identity import full_form
from sweep.manifest import Execution, Failure, Manifest, RunRecord, utc
from sweep.specs import ANSWERS, STAGES, VERSIONS, Spec, Stage
from sweep.storage import LocalStorage

DEFAULT_STORE = "ssl-sweep-store"

FILES: Mapping[Stage, tuple[str, ...]] = {
    "prepare": (
        "data/dataset.json",
        *(
            f"data/{split}{part}.npy"
            for split in ("train", "test")
            for part in ("", "_ids", "_keys", "_labels")
        ),
    ),
    "pretrain": ("encoder.safetensors", "encoder.json"),
    "features": ("x.npy", "ids.npy"),
    "probe": (),
    "finetune": (),
}
"""The files, inside a stage's folder, without which its result is not there."""


class Store:
    """A store at `uri`: a path, or file:///…. Opening one writes nothing; see `check_writable`."""

    def __init__(self, uri: str | Path = DEFAULT_STORE) -> None:
        text = str(uri)
        if not text.strip():
            raise StoreError("the store has an empty name", hint="give --store a folder")
        scheme = urlsplit(text).scheme if "://" in text else ""
        if scheme not in ("", "file"):
            raise StoreError(
                f"store {text!r}: {scheme}:// addresses are not supported yet",
                hint="give a local folder, or mount the bucket as one",
            )
        path = Path(unquote(urlsplit(text).path)) if scheme else Path(text).expanduser()
        if path.exists() and not path.is_dir():
            raise StoreError(f"store {text!r} is not a folder")
        self.root = Path(os.path.abspath(path))
        self.storage = LocalStorage(self.root)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def check_writable(self) -> None:
        """Makes the store's folder and writes and links a file in it, as a commit does; else StoreError."""
        probe = self.root / f".write-test-{uuid.uuid4().hex}"
        linked = probe.with_suffix(".link")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_text("ssl-sweep")
            os.link(probe, linked)
        except OSError as error:
            raise StoreError(
                f"store {str(self.root)!r} cannot be written: {error.strerror or error}",
                hint="choose another folder with --store, or mend the permissions or the disk",
            ) from error
        finally:
            for path in (probe, linked):
                with contextlib.suppress(OSError):
                    path.unlink()

    # Places -----------------------------------------------------------------------------------------

    def path(self, stage: Stage, id: str) -> Path:
        """The folder of a stage; not made by this call."""
        return self.root / stage / id

    def predictions(self, probe_id: str) -> Path:
        """The Parquet file of a probe's predictions."""
        return self.root / "predictions" / f"{probe_id}.parquet"

    def ids(self, stage: Stage) -> list[str]:
        """Every id that has a folder, finished or not, sorted."""
        try:
            with os.scandir(self.root / stage) as entries:
                return sorted(entry.name for entry in entries)
        except FileNotFoundError:
            return []

    def _files(self, stage: Stage, id: str) -> tuple[str, ...]:
        if stage in ANSWERS:
            return (f"predictions/{id}.parquet",)
        return tuple(f"{stage}/{id}/{name}" for name in FILES[stage])

    # Finished stages --------------------------------------------------------------------------------

    def complete(self, stage: Stage, id: str) -> Manifest | None:
        """The manifest of a finished stage whose files are all there in their full size, else None."""
        manifest = self.manifest(stage, id)
        if manifest is None:
            return None
        root = str(self.root)
        for name, size in manifest.files.items():
            try:
                if os.stat(f"{root}/{name}").st_size != size:
                    return None
            except OSError:
                return None
        return manifest

    def manifest(self, stage: Stage, id: str) -> Manifest | None:
        """The manifest of a stage that finished once, whether or not its files are still there."""
        try:
            with open(f"{self.root}/{stage}/{id}/manifest.json", "rb") as file:
                return Manifest.from_json(json.loads(file.read()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # a damaged manifest is no manifest: the stage counts as missing and runs again
        except OSError as error:
            raise StoreError(f"store: {stage}/{id}/manifest.json cannot be read: {error.strerror}") from error

    def manifests(self, stage: Stage) -> Iterator[Manifest]:
        """The manifest of every finished stage, in the order of ids; files are not looked at."""
        for id in self.ids(stage):
            if (manifest := self.manifest(stage, id)) is not None:
                yield manifest

    def commit(
        self,
        stage: Stage,
        id: str,
        spec: Spec,
        upstream: Sequence[str],
        outputs: Mapping[str, Any],
        run: RunRecord,
    ) -> bool:
        """Marks a stage finished: its files are on disk first, then the manifest, then the execution line.
        Two processes may do one stage at the same time if they put its files in place by renaming.

        False where another process finished the same stage before: its manifest stays and this execution
        is not counted. StoreError where one of the stage's files is missing.
        """
        files: dict[str, int] = {}
        for name in self._files(stage, id):
            try:
                files[name] = _sync(self.root / name)
            except FileNotFoundError:
                raise StoreError(f"{stage} {id} cannot be committed: {name} was not written") from None
        manifest = Manifest(
            stage=stage,
            id=id,
            version=VERSIONS[stage],
            spec=full_form(spec),
            upstream=tuple(upstream),
            outputs=_finite(outputs),
            files=files,
            run=run,
        )
        final = self.path(stage, id) / "manifest.json"
        if not _withdraw_stale(final, files):
            return False
        if not _write_exclusive(final, json.dumps(asdict(manifest), allow_nan=False)):
            return False
        self.clear_failure(stage, id)
        self._append(manifest)
        return True

    # Executions -------------------------------------------------------------------------------------

    def _append(self, manifest: Manifest) -> None:
        line = asdict(
            Execution(
                manifest.run.execution,
                manifest.stage,
                manifest.id,
                manifest.run.started,
                manifest.run.ended,
                manifest.run.seconds,
                manifest.run.host,
            )
        )
        descriptor = os.open(self.root / "executions.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # a writer died inside a line
            os.write(descriptor, (("\n" if torn else "") + json.dumps(line) + "\n").encode())
        finally:
            os.close(descriptor)

    def executions(self) -> list[Execution]:
        """Each execution once, in the order of the file; a torn line is passed over."""
        try:
            lines = (self.root / "executions.jsonl").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found: dict[str, Execution] = {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                execution = Execution(**json.loads(line))
                found.setdefault(execution.execution, execution)
        return list(found.values())

    def reconcile(self) -> int:
        """Adds the lines that a kill between manifest and line lost, and removes temporary files that a
        kill left. Returns the number of lines added."""
        known = {execution.execution for execution in self.executions()}
        added = 0
        remove_abandoned(self.root / "predictions")
        for stage in STAGES:
            for id in self.ids(stage):
                remove_abandoned(self.path(stage, id))
            for manifest in self.manifests(stage):
                if manifest.run.execution not in known:
                    self._append(manifest)
                    added += 1
        return added

    # Failures ---------------------------------------------------------------------------------------

    def fail(self, stage: Stage, id: str, failure: Failure) -> None:
        """Keeps how a stage failed, in place of an earlier failure of it."""
        folder = self.path(stage, id)
        with whole(folder / "error.json") as partial:
            partial.write_text(json.dumps(asdict(replace(failure, time=failure.time or utc()))))

    def failure(self, stage: Stage, id: str) -> Failure | None:
        """How a stage failed last, None where it did not or was finished or cleared since."""
        try:
            return Failure.from_json(json.loads((self.path(stage, id) / "error.json").read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):
            return Failure(kind="unknown", message="error.json is damaged")

    def clear_failure(self, stage: Stage, id: str) -> None:
        """Forgets a failure."""
        (self.path(stage, id) / "error.json").unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: an undefined number is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _sync(path: Path) -> int:
    """Puts a file on disk; its size in bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _withdraw_stale(final: Path, files: Mapping[str, int]) -> bool:
    """Takes away a manifest that is damaged, or of files that were lost and have just been made again.

    False where a sound manifest of these `files` is there: another process has finished the stage. That may
    happen at any moment, so what is taken away is looked at again, and put back if it is sound.
    """

    def sound(path: Path) -> bool:
        try:
            return Manifest.from_json(json.loads(path.read_bytes())).files == files
        except (ValueError, KeyError, TypeError, AttributeError):
            return False

    try:
        if sound(final):
            return False
        aside = temporary(final.parent, "manifest")
        os.rename(final, aside)
    except FileNotFoundError:
        return True
    try:
        if not sound(aside):
            return True
        with contextlib.suppress(FileExistsError):
            os.link(aside, final)
        return False
    finally:
        aside.unlink()


def _write_exclusive(final: Path, text: str) -> bool:
    """Writes `final` whole or not at all; False where it exists already. link() is atomic and, unlike
    rename(), refuses to replace."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(final.parent, "manifest")
    try:
        with open(partial, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, final)
        except FileExistsError:
            return False
    finally:
        partial.unlink(missing_ok=True)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True
