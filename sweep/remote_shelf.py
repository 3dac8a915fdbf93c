"""The files of an object store, kept on this node's disk: fetched once, then memory-mapped like any other.

What the store holds is asked by listing, never object by object, and remembered for a moment; records are
written once, so their content is kept on disk by its version.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sweep.checksums import digest, unchanged
from sweep.files import whole
from sweep.object_storage import Meta, ObjectStorage
from sweep.shelf import Kept, damaged
from sweep.specs import STAGES, Stage

# What was seen counts this long: that something is there, and that it is not (yet).
_THERE_S = 60.0
_ABSENT_S = 2.0
_AT_ONCE = 32  # requests for records in flight
PREDICTIONS = "predictions"


@dataclass
class _Seen:
    """The objects of one stage, and when they were looked at (monotonic)."""

    at: float
    objects: dict[str, Meta] = field(default_factory=dict)


class RemoteShelf:
    """Objects of `storage` under their names, and copies of them under `root`."""

    remote = True

    def __init__(self, storage: ObjectStorage, root: Path) -> None:
        self._storage, self._root = storage, root
        self._seen: dict[str, _Seen] = {}
        self._surveyed: dict[str, float] = {}

    # What there is ----------------------------------------------------------------------------------

    def survey(self) -> None:
        folders = (*STAGES, PREDICTIONS)
        with ThreadPoolExecutor(len(folders)) as pool:
            list(pool.map(self._survey, folders))
        records = [
            (name, meta)
            for seen in list(self._seen.values())
            for name, meta in seen.objects.items()
            if name.endswith("/manifest.json") and not self._copy(name, meta).exists()
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda record: self._record(*record), records))

    def _survey(self, folder: str) -> None:
        objects = self._storage.listing(folder)
        now = time.monotonic()
        found: dict[str, _Seen] = {}
        for name, meta in objects.items():
            found.setdefault(_unit(name), _Seen(now)).objects[name] = meta
        for unit in [unit for unit in self._seen if unit.split("/")[0] == folder and unit not in found]:
            del self._seen[unit]
        self._seen |= found
        self._surveyed[folder] = now

    def ids(self, stage: Stage) -> list[str]:
        if time.monotonic() - self._surveyed.get(stage, -_THERE_S) > _ABSENT_S:
            self._survey(stage)
        return sorted(unit.split("/")[1] for unit in list(self._seen) if unit.startswith(f"{stage}/"))

    def _meta(self, name: str) -> Meta | None:
        unit, now = _unit(name), time.monotonic()
        seen = self._seen.get(unit) or _Seen(self._surveyed.get(name.split("/")[0], -_THERE_S))
        meta = seen.objects.get(name)
        if now - seen.at < (_ABSENT_S if meta is None else _THERE_S):
            return meta
        if unit == name:
            alone = self._storage.meta(name)
            objects = {name: alone} if alone is not None else {}
        else:
            objects = self._storage.listing(unit)
        self._seen[unit] = _Seen(now, objects)
        return objects.get(name)

    def there(self, name: str) -> bool:
        return self._storage.there(name)

    def forget(self, name: str) -> None:
        self._seen.pop(_unit(name), None)
        self._surveyed.pop(name.split("/")[0], None)

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

    def keep(self, name: str) -> Kept:
        path = self._root / name
        kept = Kept(path.stat().st_size, digest(path))
        self._storage.upload(name, path)
        self.forget(name)
        return kept

    def bring(self, name: str, size: int, sha256: str) -> None:
        path = self._root / name
        with self._alone(path):
            if self._whole(path, size, sha256):
                return
            if not self._storage.download(name, path):
                raise damaged(name, "is gone")
            if not self._whole(path, size, sha256):
                path.unlink()
                raise damaged(name, "is not the file that was committed")

    @staticmethod
    def _whole(path: Path, size: int, sha256: str) -> bool:
        try:
            return unchanged(path, size, sha256)
        except FileNotFoundError:
            return False

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Other processes of the node wait for this download."""
        lot = hashlib.sha256(str(path).encode()).hexdigest()[:2]
        folder = self._root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / lot, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def share(self, name: str) -> None:
        path = self._root / name
        if path.exists():
            version = self._storage.upload(name, path)
            self._note(name, version)
            self.forget(name)

    def newest(self, name: str, exactly: bool = False) -> Path | None:
        path, meta = self._root / name, self._storage.meta(name)
        if meta is not None and not self._is_ours(name, meta.version, exactly):
            version = self._storage.download(name, path)
            if version is not None:
                self._note(name, version)
        return path if path.exists() else None

    def _note(self, name: str, version: str) -> None:
        """Which object the file of this name was, or became, last."""
        with whole(self._root / ".records" / f"{name}.shared") as partial:
            partial.write_text(json.dumps([version, os.stat(self._root / name).st_mtime_ns]))

    def _is_ours(self, name: str, version: str, exactly: bool) -> bool:
        """Whether the file here is that object or, unless `exactly`, what was written after it was shared."""
        try:
            shared, modified = json.loads((self._root / ".records" / f"{name}.shared").read_bytes())
            untouched = os.stat(self._root / name).st_mtime_ns == modified
        except (FileNotFoundError, ValueError):
            return False
        return bool(shared == version and (untouched or not exactly))

    def drop(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)
        self._storage.delete(name)
        self.forget(name)


def _unit(name: str) -> str:
    """What is listed together: a stage's folder; a file of predictions is alone."""
    parts = name.split("/")
    return name if parts[0] == PREDICTIONS else "/".join(parts[:2])
