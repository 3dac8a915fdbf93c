"""Opens a store's address: its records, its files and its log of executions."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ssl_sweep.data_ops.sources.remote import cache_root
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.executions import ExecutionLog, FileExecutionLog, ObjectExecutionLog
from ssl_sweep.sweep.store.files import Files, LocalFiles
from ssl_sweep.sweep.store.mounted import MountedFolder
from ssl_sweep.sweep.store.records import LocalStorage, Storage
from ssl_sweep.sweep.util.addresses import malformed, secret_in

OBJECT_STORES = ("s3", "gs", "az")


@dataclass(frozen=True)
class Place:
    """The parts of an opened store."""

    uri: str
    """The same for every process."""
    root: Path
    """Where this node reads and writes files."""
    storage: Storage
    files: Files
    executions: ExecutionLog
    folder: MountedFolder


def open_place(address: str | Path, patience_s: float | None) -> Place:
    """Open a store without writing anything.

    Args:
        patience_s: seconds of retrying if an object store does not answer; None for the default.

    Raises:
        StoreError: the address is not one of a store.
    """
    text = str(address)
    if not text.strip():
        raise StoreError("the store's address is empty", hint="give --store a folder")
    if secret := secret_in(text):
        raise StoreError(
            f"the store's address holds {secret}",
            hint="give credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
        )
    if "://" in text and (why := malformed(text)):
        raise StoreError(
            f"store {text!r} is not a valid address: {why}", hint="write it as in --store s3://bucket/prefix"
        )
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme in OBJECT_STORES:
        return _objects(text.rstrip("/"), patience_s)
    if scheme not in ("", "file"):
        known = ", ".join(f"{name}://" for name in OBJECT_STORES)
        raise StoreError(
            f"store {text!r}: {scheme}:// addresses are not supported",
            hint=f"give a folder, or a bucket's address: {known}",
        )
    path = Path(unquote(urlsplit(text).path)) if scheme else Path(text).expanduser()
    existing = next((each for each in (path, *path.absolute().parents) if each.exists()), None)
    if existing is not None and not existing.is_dir():
        raise StoreError(f"store {text!r}: {existing} is not a folder", hint="choose a folder with --store")
    root = Path(os.path.abspath(path))
    folder = MountedFolder(root)
    storage, files = LocalStorage(root, folder), LocalFiles(root, folder)
    return Place(str(root), root, storage, files, FileExecutionLog(root), folder)


def _objects(uri: str, patience_s: float | None) -> Place:
    # Planning on a folder does not need obstore
    from ssl_sweep.sweep.store.object_files import ObjectFiles
    from ssl_sweep.sweep.store.object_records import ObjectStorage

    root = cache_root() / "stores" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    storage = ObjectStorage(uri, patience_s)
    files, executions = ObjectFiles(storage, root), ObjectExecutionLog(storage)
    return Place(uri, root, storage, files, executions, MountedFolder(root))
