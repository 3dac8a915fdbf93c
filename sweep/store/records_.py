"""Manifests as records: the first of several writers wins, and what is damaged gives way."""

from __future__ import annotations

from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.records import Storage


def write_once(storage: Storage, manifest: Manifest) -> bool:
    """Write a manifest where there is none. One that is damaged, or of other files than were just put in
    place, is replaced; False where a sound one stands: another process was faster."""
    data = manifest.to_json()
    while not storage.create(manifest.key, data):
        record = storage.read(manifest.key)
        if record is None:
            continue
        there = Manifest.parse(record.data)
        if there is not None and manifest.same_files(there):
            return False
        if storage.swap(manifest.key, record.version, data):
            return True
    return True
