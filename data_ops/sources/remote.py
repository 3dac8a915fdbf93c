"""Files in object stores, fetched once per node into a cache on local disk.

An address has a scheme (s3://, gs://, https://, memory://) and is opened by fsspec. The key of a cached file
has its address and its version in the store, so a changed object is fetched again. Files are never removed
from the cache: users empty it themselves.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.locks import lock

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")


def is_remote(where: str) -> bool:
    """Whether a path has a scheme. A drive letter is not a scheme."""
    return _SCHEME.match(where) is not None


def cache_root() -> Path:
    """The folder ``SSL_SWEEP_CACHE``, or else ssl-sweep in the platform's cache folder."""
    if given := os.environ.get("SSL_SWEEP_CACHE"):
        return Path(given)
    mac = Path("~/Library/Caches").expanduser()
    base = mac if sys.platform == "darwin" else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return base.expanduser() / "ssl-sweep"


def local(where: str) -> Path:
    """The path itself, or the local copy of an address.

    Raises:
        DataError: The address cannot be fetched.
    """
    return _fetch(where) if is_remote(where) else Path(where)


def remote_files(where: str, suffix: str) -> list[Path]:
    """Local copies of an address, of the files with ``suffix`` below it, or of what its glob matches."""
    fs, path = _open_store(where)
    pattern = any(mark in path for mark in "*?[")
    # to ask a web server whether a file is a folder, one has to fetch the file
    if path.endswith(suffix) and not pattern:
        return [_fetch(where)]
    try:
        if not pattern and not fs.isdir(path):
            found = [path]
        else:
            found = fs.glob(path if pattern else f"{path.rstrip('/')}/*{suffix}")
    except Exception as error:
        raise _failed(where, error) from error
    return [_fetch(fs.unstrip_protocol(name)) for name in sorted(found)]


def read_remote(where: str) -> bytes:
    """The bytes of an address, without the cache: for images, which are read once.

    Raises:
        DataError: The address cannot be fetched.
    """
    fs, path = _open_store(where)
    try:
        data: bytes = fs.cat_file(path)
    except Exception as error:
        raise _failed(where, error) from error
    return data


def cached_stamp(path: str) -> tuple[str, int, int] | None:
    """(key, bytes, 0) of a cached download, equal on every machine; None for any other file."""
    downloads = str(cache_root() / "downloads") + os.sep
    if not path.startswith(downloads):
        return None
    return path.removeprefix(downloads), os.stat(path).st_size, 0


def _fetch(where: str) -> Path:
    fs, path = _open_store(where)
    try:
        info = fs.info(path)
    except Exception as error:
        raise _failed(where, error) from error
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None), "")
    key = hashlib.sha256(f"{where}|{info.get('size')}|{version}".encode()).hexdigest()[:24]
    folder = cache_root() / "downloads" / key
    target = folder / (path.rstrip("/").rpartition("/")[2] or "file")
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        lock(file.fileno(), wait=True)  # other processes on this node wait for the download
        if not target.exists():
            _download(fs, path, target, where, info.get("size"))
    return target


def _download(fs: Any, path: str, target: Path, where: str, size: int | None) -> None:
    handle, partial = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
    os.close(handle)
    try:
        fs.get_file(path, partial)
        got = os.stat(partial).st_size
        if size is not None and got != size:
            raise DataError(f"{where}: only {got:,} of {size:,} bytes arrived; try again")
        os.replace(partial, target)
    except DataError:
        raise
    except Exception as error:
        raise _failed(where, error) from error
    finally:
        Path(partial).unlink(missing_ok=True)


def _open_store(where: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(where)
    except (ImportError, ValueError) as error:  # no driver for this scheme, or no such scheme
        raise DataError(f"{where}: cannot be opened ({error}); install the store's driver") from error
    return fs, path


def _failed(where: str, error: Exception) -> DataError:
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    return DataError(f"{where}: cannot be fetched ({reason}); check the address and the credentials")
