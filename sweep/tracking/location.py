"""Where the tracker of a store is, and its uses outside a run: showing its UI, attaching a report."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ssl_sweep.sweep.errors import StoreError, SweepError, UsageError, first_line
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.mlflow_client import Tracker, local_uri, other_version, require_answer
from ssl_sweep.sweep.util.addresses import malformed, masked

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_VARIABLE = "MLFLOW_TRACKING_URI"
_HOST = re.compile(r"[\w.-]+:\d+(/.*)?")
_NOTE = 4900  # characters; MLflow limits the length of a tag


class TrackerError(SweepError):
    """The tracking server does not answer, or refuses what it is sent."""


def tracking_folder(store: Store) -> Path:
    """Return the folder of the store's own MLflow database and artifacts."""
    return store.root / "mlflow"


def tracking_uri(store: Store, uri: str | None) -> str:
    """Return the address to log to.

    It is ``uri`` if given, else MLflow's environment variable ``MLFLOW_TRACKING_URI``, else an SQLite
    database in the store or, for an object store, in this machine's cache. It may contain a password: show
    it ``masked``.

    Raises:
        UsageError: the address is malformed, or names a folder.
    """
    given = uri or os.environ.get(_VARIABLE)
    if not given:
        return local_uri(tracking_folder(store))
    where = "--tracking-uri" if uri else f"the environment variable {_VARIABLE}"
    if why := malformed(given):
        raise UsageError(f"{where} is not a valid address: {why}", hint="for example http://127.0.0.1:5000")
    if _HOST.fullmatch(given):
        raise UsageError(f"{where} is {given!r}, without http://", hint=f"write http://{given}")
    scheme, separator, _ = given.partition(":")
    if scheme == "file" or not (separator or given.startswith("databricks")):
        raise UsageError(
            f"{where} is {masked(given)!r}, a folder; MLflow no longer writes to folders",
            hint=f"{'leave the option out' if uri else f'unset {_VARIABLE}'} to use a database in the store,"
            " or give sqlite:///FILE or the address of a server",
        )
    return given


def where_tracked(store: Store, uri: str | None) -> str:
    """Return a note if the database is only on this machine although the store is remote, else ''."""
    folder = tracking_folder(store)
    if not store.remote or tracking_uri(store, uri) != local_uri(folder):
        return ""
    return f"the MLflow database of this store is on this machine, in {folder}; --tracking-uri sets a server"


def open_tracker(store: Store, uri: str | None, sweep: str) -> Tracker:
    """Open the experiment of a sweep.

    A server decides where artifacts go. For a database the folder is given here: MLflow's default is the
    current folder.
    """
    address = tracking_uri(store, uri)
    database = address.split("://")[0].split("+")[0] in _DATABASES
    with _explained(store, address):
        return Tracker(address, sweep, tracking_folder(store) / "artifacts" if database else None)


def require_tracker(store: Store, uri: str | None) -> None:
    """Open the tracker if there is one already.

    Raises:
        UsageError: the address is not valid.
        TrackerError: the database is from another version of MLflow.
        Exception: the tracker does not answer; from MLflow, its database or its HTTP client.
    """
    address = tracking_uri(store, uri)
    if not _has_no_database(store, uri):
        with _explained(store, address):
            require_answer(address)


@contextmanager
def _explained(store: Store, address: str) -> Iterator[None]:
    """Say what to do about a database of another version of MLflow.

    Raises:
        TrackerError: the database is from another version of MLflow.
    """
    try:
        yield
    except Exception as error:
        if not other_version(error):
            raise
        folder = tracking_folder(store)
        own = address == local_uri(folder)
        raise TrackerError(
            f"another version of MLflow created the database {masked(address)}",
            hint=f"it only mirrors the store: delete the folder {folder}, then run: ssl-sweep sync GRID"
            if own
            else "upgrade it with `mlflow db upgrade`, or choose another one with --tracking-uri",
        ) from error


def attach_report(
    store: Store, uri: str | None, sweep: str, findings: Path, page: Path, figures: Sequence[Path]
) -> str:
    """Attach a report to the run of the sweep, with its findings as the description. Errors are not raised.

    Returns:
        Why it was not attached; '' if it was, or if the store has no tracker yet.
    """
    files = [(findings, ""), (page, ""), *((path, "figures") for path in figures)]
    tags = {"ssl_sweep.kind": "sweep", "mlflow.note.content": findings.read_text()[:_NOTE]}
    try:
        if _has_no_database(store, uri):
            return ""
        tracker = open_tracker(store, uri, sweep)
        if elsewhere := _files_elsewhere(tracker, store, uri):
            return (
                f"this store was copied or moved, and its MLflow database still points to {elsewhere}; delete"
                f" {tracking_folder(store)}, then run: ssl-sweep sync"
            )
        tracker.attach(f"sweep-{sweep}", f"sweep {sweep}", tags, files)
    except SweepError as error:
        return f"{error}; {error.hint}" if error.hint else str(error)
    except Exception as error:  # from MLflow, its database or its HTTP client
        return masked(first_line(error))
    return ""


def _files_elsewhere(tracker: Tracker, store: Store, uri: str | None) -> str:
    """Return the artifact folder in the database if it is in another store: MLflow saves absolute paths."""
    folder = tracking_folder(store)
    if tracking_uri(store, uri) != local_uri(folder):
        return ""
    at = Path(url2pathname(urlsplit(tracker.files_at()).path))
    own = folder / "artifacts"
    if at == own or (at.exists() and own.exists() and at.samefile(own)):
        return ""
    return str(at)


def ui_command(store_uri: str, uri: str | None, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves MLflow's UI for the tracker of a store, and its environment variables.

    The address is in the environment because it may contain a password: every user of the machine can see the
    arguments of a process.

    Raises:
        StoreError: the store has no runs to show.
        UsageError: the tracker is a server, which has its own UI.
    """
    store = Store(store_uri)
    address = tracking_uri(store, uri)
    if address.startswith(("http://", "https://")):
        raise UsageError(f"the tracker is a server with its own UI: open {masked(address)} in a browser")
    if _has_no_database(store, uri):
        raise StoreError(
            f"the store {store_uri} has no MLflow database yet",
            hint="run a grid first, or give another store with --store",
        )
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    return command, {"MLFLOW_BACKEND_STORE_URI": address}


def _has_no_database(store: Store, uri: str | None) -> bool:
    """Whether the tracker is the store's own database, and that does not exist yet."""
    folder = tracking_folder(store)
    return tracking_uri(store, uri) == local_uri(folder) and not (folder / "mlflow.db").exists()
