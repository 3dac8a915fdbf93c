"""The store's records: what a finished stage was, how it ran, and how a stage failed."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.spec.identity import from_form
from ssl_sweep.sweep.spec.specs import SPECS, Spec, Stage
from ssl_sweep.sweep.store.records import Storage, checked


def utc(seconds: float | None = None) -> str:
    """A Unix time in seconds, by default the current one, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).isoformat(
        timespec="milliseconds"
    )


def finite(value: Any) -> Any:
    """``value`` with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


@lru_cache
def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One execution of a stage. Nothing in it is part of an identity."""

    execution: str
    """A unique id."""
    started: str
    ended: str
    seconds: float
    """Duration of the work itself."""
    host: str = ""
    device: str = "cpu"
    """Either "cpu" or "gpu"."""
    hardware: str = ""
    """Name of the device."""
    workers: int = 1
    mode: str = ""
    """How a training ran: "workers" or "in-process"."""
    backend: str = ""
    """The view back end."""
    predicted_s: float = 0.0
    """Predicted duration of a training, in seconds; 0 without a prediction."""
    predicted_from: str = ""
    """Source of the rate behind it: measured, calibrated, scaled or default guess."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Packages that made the result."""

    @classmethod
    def since(cls, started: float, **facts: Any) -> Self:
        """A record with a new id that ends now; ``started`` is a Unix time in seconds."""
        now = time.time()
        facts.setdefault("host", platform.node())
        return cls(
            execution=uuid.uuid4().hex,
            started=utc(started),
            ended=utc(now),
            seconds=round(now - started, 3),
            **facts,
        )


_DIGEST = b', "manifest_sha256": "'


def _end(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b'"}'


FORM = 2
"""The form of the specs that are written now."""
MIGRATED = "migrated.json"
"""Key of a record that ``migrate`` leaves: what has an older form now could not be mapped."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the store keeps about a finished stage."""

    stage: Stage
    id: str
    version: int
    spec: Mapping[str, Any]
    upstream: tuple[str, ...]
    outputs: Mapping[str, Any]
    """Small JSON values: a probe's metrics, a dataset's counts."""
    files: Mapping[str, int]
    """Size in bytes of each file of the result; names are relative to the store's root."""
    run: RunRecord
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digest of each file, in hex; empty in older manifests."""
    form: int = 1
    """The form of ``spec``: 1 names datasets by their fingerprints, ``FORM`` names images by digests."""
    former: str = ""
    """Its id before ``migrate``."""

    @property
    def key(self) -> str:
        """Its key in the store."""
        return f"{self.stage}/{self.id}/manifest.json"

    @property
    def old(self) -> bool:
        """Whether its id is of an older form, which no plan asks for any more."""
        return self.form < FORM and self.stage != "prepare"

    def typed(self) -> Spec | None:
        """Its spec; None if that is of an older form, or of a newer program."""
        try:
            return None if self.old else from_form(SPECS[self.stage], self.spec)
        except ValueError:
            return None

    def same_files(self, other: Manifest) -> bool:
        """Whether both have files of the same bytes, as far as an older manifest can tell."""
        both = self.sha256.keys() & other.sha256.keys()
        return self.files == other.files and all(self.sha256[n] == other.sha256[n] for n in both)

    def to_json(self) -> bytes:
        """JSON that ends with the digest of everything before it.

        Some numbers of a result are only in its manifest, where one changed digit would change the result.
        """
        body = json.dumps(asdict(self), allow_nan=False).encode()[:-1]
        return body + _DIGEST + _end(body)

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """The manifest in these bytes; None if they are damaged or name a file outside the store.

        Older manifests have no digest of themselves.
        """
        body, given, rest = data.rpartition(_DIGEST)
        if given and rest != _end(body):
            return None
        try:
            manifest = cls.from_json(json.loads(data))
            for name in manifest.files:
                checked(name)
        except (ValueError, KeyError, TypeError, AttributeError, StoreError):
            return None
        return manifest

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of ``dataclasses.asdict``; ignores fields that a newer program added."""
        known = _names(Manifest)
        facts = {key: item for key, item in value.items() if key in known}
        facts["upstream"] = tuple(facts["upstream"])
        run_fields = _names(RunRecord)
        facts["run"] = RunRecord(**{key: item for key, item in value["run"].items() if key in run_fields})
        return cls(**facts)


def write_once(storage: Storage, manifest: Manifest) -> bool:
    """Write a manifest unless a sound one of the same files exists: another process was faster.

    Replaces a manifest that is damaged, or that belongs to other files than those just saved.

    Returns:
        False if an existing manifest was kept.
    """
    data = manifest.to_json()
    while not storage.create(manifest.key, data):
        record = storage.read(manifest.key)
        if record is None:
            continue
        existing = Manifest.parse(record.data)
        if existing is not None and manifest.same_files(existing):
            return False
        if storage.swap(manifest.key, record.version, data):
            return True
    return True


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a stage failed last."""

    kind: str
    """One of the kinds in ``execution.failures``."""
    message: str
    log_tail: str = ""
    attempt: int = 1
    """Number of failures of this stage so far."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """Number of failures of each kind since the stage was last started from scratch."""
    final: bool = True
    """Whether no retry follows in this run."""
    hardware: str = ""
    time: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The failure in these bytes; if they are damaged, a failure of unknown kind that says so."""
        try:
            return cls.from_json(json.loads(data))
        except (ValueError, TypeError, AttributeError):
            return cls(kind="unknown", message="error.json is damaged")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of ``dataclasses.asdict``; ignores fields that a newer program added."""
        known = _names(Failure)
        return cls(**{key: item for key, item in value.items() if key in known})


@dataclass(frozen=True)
class Execution:
    """One line of ``executions.jsonl``: a stage that was finished once."""

    execution: str
    stage: str
    id: str
    started: str
    ended: str
    seconds: float
    host: str
