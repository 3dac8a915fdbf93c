"""The records of the store: what a finished stage was, how it ran, and how a failed one failed."""

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
from ssl_sweep.sweep.spec.specs import Stage
from ssl_sweep.sweep.store.records import checked


def utc(seconds: float | None = None) -> str:
    """ISO 8601 UTC of a Unix time, now by default."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).isoformat(
        timespec="milliseconds"
    )


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: an undefined number is null."""
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
    """One real execution of a stage. Nothing in here is part of an identity.

    `seconds` is the work itself; `device` is "cpu" or "gpu", `hardware` its name; `mode` is "workers" or
    "in-process" for trainings; `backend` the view back end; `versions` the packages that made the result.
    `predicted_s` of a training are the seconds it was to take, as seen before it began (0: nobody said), by a
    rate that is `predicted_from` (measured, calibrated, scaled, default guess).
    """

    execution: str
    started: str
    ended: str
    seconds: float
    host: str = ""
    device: str = "cpu"
    hardware: str = ""
    workers: int = 1
    mode: str = ""
    backend: str = ""
    predicted_s: float = 0.0
    predicted_from: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def since(cls, started: float, **facts: Any) -> Self:
        """A record that ends now; `started` is a `time.time()`. Makes the execution's unique id."""
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


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the store keeps of a finished stage. `files` maps each file of the result, relative to the root
    of the store, to its size in bytes, `sha256` to the digest of its bytes in hex (older manifests have
    none); `outputs` is small JSON (a probe's metrics, a dataset's counts)."""

    stage: Stage
    id: str
    version: int
    spec: Mapping[str, Any]
    upstream: tuple[str, ...]
    outputs: Mapping[str, Any]
    files: Mapping[str, int]
    run: RunRecord
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where it is in the store."""
        return f"{self.stage}/{self.id}/manifest.json"

    def same_files(self, other: Manifest) -> bool:
        """Whether both are of the same bytes, as far as the older one can tell."""
        both = self.sha256.keys() & other.sha256.keys()
        return self.files == other.files and all(self.sha256[n] == other.sha256[n] for n in both)

    def to_json(self) -> bytes:
        """It ends with the digest of all before: numbers of a result are in here and nowhere else, and one
        other digit would be another result."""
        body = json.dumps(asdict(self), allow_nan=False).encode()[:-1]
        return body + _DIGEST + _end(body)

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """The manifest that these bytes are, None where they are damaged, or name a file outside of the
        store. Older ones do not say what they were."""
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
        """Inverse of `dataclasses.asdict`; fields that a newer program added are passed over."""
        known = _names(Manifest)
        facts = {key: item for key, item in value.items() if key in known}
        facts["upstream"] = tuple(facts["upstream"])
        run_fields = _names(RunRecord)
        facts["run"] = RunRecord(**{key: item for key, item in value["run"].items() if key in run_fields})
        return cls(**facts)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a stage failed last. `kind` is one of `failures.BUDGETS`. `attempt` counts all of its failures,
    `attempts` those since it was last begun afresh, by kind; `final` where no further attempt follows by
    itself."""

    kind: str
    message: str
    log_tail: str = ""
    attempt: int = 1
    attempts: Mapping[str, int] = field(default_factory=dict)
    final: bool = True
    hardware: str = ""
    time: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The failure that these bytes are, or that they are damaged."""
        try:
            return cls.from_json(json.loads(data))
        except (ValueError, TypeError, AttributeError):
            return cls(kind="unknown", message="error.json is damaged")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `dataclasses.asdict`; fields that a newer program added are passed over."""
        known = _names(Failure)
        return cls(**{key: item for key, item in value.items() if key in known})


@dataclass(frozen=True)
class Execution:
    """One line of `executions.jsonl`: a stage that was carried to completion once."""

    execution: str
    stage: str
    id: str
    started: str
    ended: str
    seconds: float
    host: str
