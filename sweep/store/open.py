"""What a store's address opens: the records, the files and the journal behind it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ssl_sweep.data_ops.sources.remote import cache_root
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.executions import FileJournal, Journal, ObjectJournal
from ssl_sweep.sweep.store.files import LocalShelf, Shelf
from ssl_sweep.sweep.store.mounted import Presence
from ssl_sweep.sweep.store.records import LocalStorage, Storage
from ssl_sweep.sweep.util.addresses import malformed, secret_in

OBJECT_STORES = ("s3", "gs", "az")


@dataclass(frozen=True)
class Place:
    """`uri` is the same for every process; `root` is where this node writes and reads files."""

    uri: str
    root: Path
    storage: Storage
    shelf: Shelf
    journal: Journal
    presence: Presence


def open_place(address: str | Path, patience_s: float | None) -> Place:
    """StoreError where the address is none of a store. Writes nothing."""
    text = str(address)
    if not text.strip():
        raise StoreError("the store has an empty name", hint="give --store a folder")
    if secret := secret_in(text):
        raise StoreError(
            f"the store's address holds {secret}",
            hint="give credentials by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
        )
    if "://" in text and (why := malformed(text)):
        raise StoreError(f"store {text!r} is no address: {why}", hint="as in --store s3://bucket/prefix")
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
    there = next((each for each in (path, *path.absolute().parents) if each.exists()), None)
    if there is not None and not there.is_dir():
        raise StoreError(
            f"store {text!r}: {there} is not a folder",
            hint="choose a folder, there or to be made, with --store",
        )
    root = Path(os.path.abspath(path))
    presence = Presence(root)
    storage, shelf = LocalStorage(root, presence), LocalShelf(root, presence)
    return Place(str(root), root, storage, shelf, FileJournal(root), presence)


def _objects(uri: str, patience_s: float | None) -> Place:
    from ssl_sweep.sweep.store.object_files import RemoteShelf
    from ssl_sweep.sweep.store.object_records import (
        ObjectStorage,  # planning on a folder does without obstore
    )

    root = cache_root() / "stores" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    storage = ObjectStorage(uri, patience_s)
    return Place(uri, root, storage, RemoteShelf(storage, root), ObjectJournal(storage), Presence(root))
