"""Records and files in an object store (S3, GCS, Azure), through the ``obstore`` package.

The server's conditional put makes concurrent writers safe: a record is created with If-None-Match, and
replaced with If-Match on its e-tag. Credentials come only from the environment (AWS_…, AWS_ENDPOINT_URL).

Object stores have no conditional delete, so deleting a record by a swap leaves an empty object, which counts
as deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore import exceptions
from obstore.store import from_url

from ssl_sweep.sweep.errors import StoreError, UnreachableError, first_line
from ssl_sweep.sweep.store.records import Record, checked
from ssl_sweep.sweep.util.files import whole

PATIENCE_S = 120.0
"""Seconds of retrying for a server that answered before."""
_FIRST_S = 15.0  # seconds of retrying for a server that never answered: its address is more likely wrong
_REQUEST_S = 60.0
_CONNECT_S = 5.0
_PART = 16 * 1024**2  # bytes of one request for a file
_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
_FINAL = re.compile(r"NoSuchBucket|status code: (?!408|409|429)4\d\d")
"""Answers that a retry does not change."""
_FORBIDDEN = re.compile(r"status code: 40[13]|ExpiredToken|InvalidAccessKeyId|SignatureDoesNotMatch")
_METADATA = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")  # asked for missing credentials
_CREDENTIALS = "credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"

T = TypeVar("T")


@dataclass(frozen=True)
class Meta:
    """An object without its bytes."""

    size: int
    """In bytes."""
    version: str
    modified: float
    """Unix time, in seconds."""


class ObjectStorage:
    """Records and files under an address such as s3://bucket/prefix."""

    def __init__(self, uri: str, patience_s: float | None = None) -> None:
        """Open a store without any request.

        Args:
            patience_s: seconds of retrying if the server does not answer. By default 15 until the server has
                answered once, then 120.
        """
        self.uri = uri
        self._patience = _FIRST_S if patience_s is None else patience_s
        self._later = PATIENCE_S if patience_s is None else patience_s
        # Each attempt is one request: the outcome of each conditional put must be known.
        self._once = self._open(max_retries=0, retry_timeout=timedelta(seconds=_REQUEST_S))
        self._bulk = self._open(max_retries=1000, retry_timeout=timedelta(seconds=self._later))

    def _open(self, **retries: Any) -> Any:
        options: Any = {
            "timeout": timedelta(seconds=_REQUEST_S),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
        }
        again: Any = dict(retries)
        again["backoff"] = {
            "init_backoff": timedelta(seconds=0.2),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        }
        try:
            return from_url(self.uri, client_options=options, retry_config=again)
        except (exceptions.BaseError, ValueError) as error:
            raise StoreError(
                f"store {self.uri!r} is not a valid address: {first_line(error)}",
                hint="write it as in --store s3://bucket/prefix",
            ) from error

    def read(self, key: str) -> Record | None:
        def get() -> Record | None:
            try:
                found = obstore.get(self._once, checked(key))
            except FileNotFoundError:
                return None
            data = bytes(found.bytes())
            return Record(data, _version(found.meta)) if data else None

        return self._persist(f"read {key}", get)

    def create(self, key: str, data: bytes) -> bool:
        if self._put_if(key, data, "create"):
            return True
        meta = self.meta(key)
        if meta is not None and meta.size == 0:  # deleted by a swap
            return self._put_if(key, data, {"e_tag": meta.version})
        return False

    def put(self, key: str, data: bytes) -> None:
        self._persist(f"write {key}", lambda: obstore.put(self._once, checked(key), data, mode="overwrite"))

    def swap(self, key: str, version: str, data: bytes | None) -> bool:
        return self._put_if(key, data or b"", {"e_tag": version})

    def delete(self, key: str) -> None:
        def delete() -> None:
            with contextlib.suppress(FileNotFoundError):
                obstore.delete(self._once, checked(key))

        self._persist(f"delete {key}", delete)

    def unsynced(self) -> ObjectStorage:
        return self

    def names(self, folder: str) -> list[str]:
        def look() -> list[str]:
            found = obstore.list_with_delimiter(self._once, checked(folder))
            folders = [prefix.rstrip("/") for prefix in found["common_prefixes"]]
            records = [meta["path"] for meta in found["objects"] if meta["size"]]
            return sorted(path.rpartition("/")[2] for path in (*folders, *records))

        return self._persist(f"list {folder}", look)

    # Beyond records ---------------------------------------------------------------------------------

    def meta(self, key: str) -> Meta | None:
        """Size, version and time of an object, even if it is empty; None if there is no such object."""
        return self._persist(f"look at {key}", lambda: self._head(key))

    def there(self, key: str) -> bool:
        """Whether an object exists; also False if the server does not answer at once."""
        try:
            return self._head(key) is not None
        except exceptions.BaseError:
            return False

    def _head(self, key: str) -> Meta | None:
        try:
            return _meta(obstore.head(self._once, checked(key)))
        except FileNotFoundError:
            return None

    def listing(self, folder: str) -> dict[str, Meta]:
        """Every object under a folder, at any depth, by its key; deleted records are excluded."""

        def look() -> dict[str, Meta]:
            pages = obstore.list(self._once, checked(folder), chunk_size=1000)
            return {item["path"]: _meta(item) for page in pages for item in page if item["size"]}

        return self._persist(f"list {folder}", look)

    def upload(self, key: str, path: Path) -> str:
        """Write a file to an object, in parts if it is large, and return the object's version."""
        try:
            made = obstore.put(
                self._bulk, checked(key), path, mode="overwrite", chunk_size=_PART, max_concurrency=4
            )
        except exceptions.BaseError as error:
            raise self._failed(f"write {key}", error) from None
        return _version(made)

    def copy(self, key: str, other: str) -> bool:
        """Copy an object on the server; False if there is no such object."""

        def copy() -> bool:
            try:
                obstore.copy(self._once, checked(key), checked(other))
            except FileNotFoundError:
                return False
            return True

        return self._persist(f"copy {key}", copy)

    def download(self, key: str, path: Path) -> str | None:
        """Write an object to a file, completely or not at all.

        Returns:
            The object's version; None if there is no such object.
        """
        meta = self.meta(key)
        if meta is None or meta.size == 0:
            return None
        try:
            with whole(path) as partial, partial.open("wb") as file:
                for part in self._parts(key, meta):
                    file.write(part)
        except exceptions.PreconditionError:  # it was replaced meanwhile
            return self.download(key, path)
        return meta.version

    def parts(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, with one request for each part; empty if there is no such object."""
        meta = self.meta(key)
        return self._parts(key, meta) if meta is not None else iter(())

    def _parts(self, key: str, meta: Meta) -> Iterator[bytes]:
        """In parts, so that a lost connection costs only one; all parts have the same version."""
        for start in range(0, meta.size, _PART):
            options: Any = {"range": (start, min(start + _PART, meta.size)), "if_match": meta.version}
            try:
                yield bytes(obstore.get(self._bulk, checked(key), options=options).bytes())
            except exceptions.PreconditionError:
                raise
            except (exceptions.BaseError, FileNotFoundError) as error:
                raise self._failed(f"read {key}", error) from None

    def _put_if(self, key: str, data: bytes, mode: Any) -> bool:
        """A conditional put.

        If the answer to an attempt was lost, the current record tells whether the attempt succeeded: records
        name their writer.
        """
        tried = 0

        def put() -> bool:
            nonlocal tried
            tried += 1
            try:
                obstore.put(self._once, checked(key), data, mode=mode)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                if tried == 1:
                    return False
                standing = self.read(key)
                return (standing.data if standing is not None else b"") == data
            except FileNotFoundError as error:
                if mode == "create":
                    raise self._failed(f"write {key}", error) from None
                return False
            return True

        return self._persist(f"write {key}", put)

    def _persist(self, what: str, ask: Callable[[], T]) -> T:
        """The server's answer; retries while there is no answer."""
        deadline, pause = time.monotonic() + self._patience, 0.1
        while True:
            try:
                answer = ask()
            except exceptions.BaseError as error:
                final = isinstance(error, _REFUSED) or _FINAL.search(str(error))
                if final or time.monotonic() + pause > deadline:
                    raise self._failed(what, error) from None
                time.sleep(pause)
                pause = min(5.0, 2 * pause)
            else:
                self._patience = self._later
                return answer

    def _failed(self, what: str, error: Exception) -> StoreError:
        """The error for the user, to be raised ``from None``: the original holds the server's whole answer,
        which may repeat the id of a key or an expired token."""
        text, summary = str(error), _summary(error)
        if any(address in text for address in _METADATA):
            return StoreError(
                f"store {self.uri}: cannot {what}: no credentials were found", hint=_CREDENTIALS
            )
        if isinstance(error, _REFUSED) or _FORBIDDEN.search(text):
            return StoreError(f"store {self.uri}: not allowed to {what}: {summary}", hint=_CREDENTIALS)
        if _FINAL.search(text):
            code = "there is no such bucket" if "NoSuchBucket" in text else summary
            return StoreError(
                f"store {self.uri}: cannot {what}: {code}", hint="check the address and its region"
            )
        return UnreachableError(
            f"store {self.uri}: cannot {what}, tried for {self._patience:.0f} s: {summary}",
            hint="check the address, AWS_ENDPOINT_URL and the network; the same command resumes the run",
        )


def _summary(error: Exception) -> str:
    """The first line of an error, with only the code of the server's XML document."""
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    line = first_line(error).partition("<")[0].rstrip(" :")
    return f"{line} ({code[1]})" if code else line


def _meta(found: Any) -> Meta:
    return Meta(found["size"], _version(found), found["last_modified"].timestamp())


def _version(found: Any) -> str:
    return str(found["e_tag"])
