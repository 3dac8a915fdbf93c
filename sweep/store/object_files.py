"""The files of an object store, cached on this node's disk: fetched once, then memory-mapped like any other.

Listings tell what the store holds. An object that was seen counts as present for a while; a missing one
counts as missing only during a survey. Copies of records are kept on disk by their version.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ssl_sweep.data_ops.locks import lock
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.store.files import GONE, SavedFile, damaged, fault_of
from ssl_sweep.sweep.store.object_records import Meta, ObjectStorage
from ssl_sweep.sweep.util.files import digest, unchanged, whole

_THERE_S = 60.0  # how long an object that was seen counts as present
_CHANGING = "/error.json"  # may be written again, so it is never remembered
_AT_ONCE = 32  # concurrent requests for records
PREDICTIONS = "predictions"


class _Survey(threading.local):
    """The objects that the current survey of this thread found; None outside a survey."""

    objects: dict[str, Meta] | None = None


class ObjectFiles:
    """The objects of ``storage``, with copies under ``root``."""

    remote = True

    def __init__(self, storage: ObjectStorage, root: Path) -> None:
        self._storage, self._root = storage, root
        self._seen: dict[str, tuple[float, Meta]] = {}
        self._survey = _Survey()

    # Listings ---------------------------------------------------------------------------------------

    @contextmanager
    def survey(self) -> Iterator[None]:
        if self._survey.objects is not None:  # inside another survey of this thread
            yield
            return
        folders = (*STAGES, PREDICTIONS)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            objects = {
                name: meta
                for found in pool.map(self._storage.listing, folders)
                for name, meta in found.items()
            }
            records = [(n, m) for n, m in objects.items() if n.endswith("/manifest.json")]
            list(pool.map(lambda r: self._record(*r), [r for r in records if not self._copy(*r).exists()]))
        self._remember(objects)
        self._survey.objects = objects
        try:
            yield
        finally:
            self._survey.objects = None

    def _remember(self, objects: Mapping[str, Meta]) -> None:
        now = time.monotonic()
        found = ((name, meta) for name, meta in objects.items() if not name.endswith(_CHANGING))
        self._seen.update((name, (now, meta)) for name, meta in found)

    def ids(self, stage: Stage) -> list[str]:
        if self._survey.objects is None:
            return self._storage.names(stage)
        return sorted({name.split("/")[1] for name in self._survey.objects if name.startswith(f"{stage}/")})

    def _meta(self, name: str) -> Meta | None:
        if self._survey.objects is not None:
            return self._survey.objects.get(name)
        at, meta = self._seen.get(name, (-_THERE_S, None))
        if time.monotonic() - at < _THERE_S:
            return meta
        parts = name.split("/")
        if parts[0] == PREDICTIONS:
            alone = self._storage.meta(name)
            objects = {name: alone} if alone is not None and alone.size else {}
        else:
            objects = self._storage.listing("/".join(parts[:2]))
        self._remember(objects)
        return objects.get(name)

    def there(self, name: str) -> bool:
        return self._storage.there(name)

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)
        if self._survey.objects is not None:
            self._survey.objects.pop(name, None)

    def size(self, name: str) -> int | None:
        meta = self._meta(name)
        return None if meta is None else meta.size

    # Records ----------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes | None:
        meta = self._meta(name)
        return None if meta is None else self._record(name, meta)

    def _record(self, name: str, meta: Meta) -> bytes | None:
        copy = self._copy(name, meta)
        try:
            data = copy.read_bytes()
            if len(data) == meta.size:
                return data
        except FileNotFoundError:
            pass
        record = self._storage.read(name)
        if record is None:
            return None
        if record.version == meta.version:
            with whole(copy) as partial:
                partial.write_bytes(record.data)
        return record.data

    def _copy(self, name: str, meta: Meta) -> Path:
        version = hashlib.sha256(meta.version.encode()).hexdigest()[:16]
        return self._root / ".records" / f"{name}-{version}"

    # Files ------------------------------------------------------------------------------------------

    def save(self, name: str) -> SavedFile:
        path = self._root / name
        saved = SavedFile(path.stat().st_size, digest(path))
        if saved.size == 0:  # an empty object counts as deleted
            raise StoreError(f"{name} is empty; a result file needs at least one byte")
        self._storage.upload(name, path)
        self.forget(name)
        return saved

    def fetch(self, name: str, size: int, sha256: str) -> None:
        path = self._root / name
        with self._alone(path):
            if self._whole(path, size, sha256):
                return
            if not self._storage.download(name, path):
                raise damaged(name, GONE)
            if not self._whole(path, size, sha256):
                path.unlink()
                raise damaged(name, "is not the file that was committed")

    def fault(self, name: str, size: int, sha256: str) -> str:
        """Reads the object, not its copy on this node."""
        hashed, length = hashlib.sha256(), 0
        for part in self._storage.parts(name):
            hashed.update(part)
            length += len(part)
        return fault_of(SavedFile(length, hashed.hexdigest()), size, sha256) if length else GONE

    @staticmethod
    def _whole(path: Path, size: int, sha256: str) -> bool:
        try:
            return unchanged(path, size, sha256)
        except FileNotFoundError:
            return False

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Other processes of the node wait for this download."""
        bucket = hashlib.sha256(str(path).encode()).hexdigest()[:2]
        folder = self._root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / bucket, "w") as file:
            lock(file.fileno(), wait=True)
            yield

    def share(self, name: str) -> None:
        path = self._root / name
        if path.exists():
            version = self._storage.upload(name, path)
            self._note_shared(name, version)
            self.forget(name)

    def newest(self, name: str, exactly: bool = False) -> Path | None:
        path, meta = self._root / name, self._storage.meta(name)
        if meta is not None and not self._is_ours(name, meta.version, exactly):
            version = self._storage.download(name, path)
            if version is not None:
                self._note_shared(name, version)
        return path if path.exists() else None

    def _note_shared(self, name: str, version: str) -> None:
        """Note the object from which the file was fetched last, or to which it was uploaded."""
        with whole(self._root / ".records" / f"{name}.shared") as partial:
            partial.write_text(json.dumps([version, os.stat(self._root / name).st_mtime_ns]))

    def _is_ours(self, name: str, version: str, exactly: bool) -> bool:
        """Whether the file here is that object or, unless ``exactly``, has changed since it was shared."""
        try:
            shared, modified = json.loads((self._root / ".records" / f"{name}.shared").read_bytes())
            untouched = os.stat(self._root / name).st_mtime_ns == modified
        except (FileNotFoundError, ValueError):
            return False
        return bool(shared == version and (untouched or not exactly))

    def copy(self, name: str, other: str) -> bool:
        copied = self._storage.copy(name, other)
        self.forget(other)
        return copied

    def drop(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)
        self._storage.delete(name)
        self.forget(name)
