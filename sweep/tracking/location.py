"""Where the tracker of a store is, and what is asked of it outside a run: its UI, a report's figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ssl_sweep.sweep.errors import StoreError, SweepError, UsageError, first_line, masked
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.mlflow_client import Tracker, local_uri
from ssl_sweep.sweep.util.addresses import malformed

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_NOTE = 4900  # characters that MLflow surely takes as a tag


class TrackerError(SweepError):
    """The tracking server does not answer or refuses what it is given."""


def tracking_folder(store: Store) -> Path:
    return store.root / "mlflow"


def tracking_uri(store: Store, uri: str | None) -> str:
    """The address to log to: the one given, MLflow's own environment variable, else SQLite in the store, or
    in this node's cache of an object store. It may hold a password: `masked` before it is shown."""
    address = uri or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(tracking_folder(store))
    if why := malformed(address):
        raise UsageError(f"the tracker's address is none: {why}", hint="as http://127.0.0.1:5000")
    return address


def where_tracked(store: Store, uri: str | None) -> str:
    """What to tell of a database that only this machine has, '' of any other."""
    folder = tracking_folder(store)
    if not store.remote or tracking_uri(store, uri) != local_uri(folder):
        return ""
    return f"MLflow's database of this store is on this machine, in {folder}; --tracking-uri names a server"


def open_tracker(store: Store, uri: str | None, sweep: str) -> Tracker:
    """A server knows where its artifacts go; those of a database would go under the present folder."""
    address = tracking_uri(store, uri)
    database = address.split("://")[0].split("+")[0] in _DATABASES
    return Tracker(address, sweep, tracking_folder(store) / "artifacts" if database else None)


def attach_report(
    store: Store, uri: str | None, sweep: str, findings: Path, page: Path, figures: Sequence[Path]
) -> str:
    """Put a report on the sweep's own run, whose description its findings become; why it was not put there,
    or '' where it was or where the sweep has no tracker yet. A report never fails for its mirror."""
    if _has_none_yet(store, uri):
        return ""
    files = [(findings, ""), (page, ""), *((path, "figures") for path in figures)]
    tags = {"ssl_sweep.kind": "sweep", "mlflow.note.content": findings.read_text()[:_NOTE]}
    try:
        tracker = open_tracker(store, uri, sweep)
        if elsewhere := _files_elsewhere(tracker, store, uri):
            return (
                f"this store was copied or moved, its MLflow still keeps files in {elsewhere}; delete"
                f" {tracking_folder(store)} and run: ssl-sweep sync"
            )
        tracker.attach(f"sweep-{sweep}", f"sweep {sweep}", tags, files)
    except (
        Exception
    ) as error:  # as in the mirror: MLflow raises its own, its database's and its HTTP client's
        return masked(first_line(error))
    return ""


def _files_elsewhere(tracker: Tracker, store: Store, uri: str | None) -> str:
    """The folder of another store that the database of this one points to: MLflow keeps whole paths."""
    folder = tracking_folder(store)
    if tracking_uri(store, uri) != local_uri(folder):
        return ""
    at = Path(url2pathname(urlsplit(tracker.files_at()).path))
    own = folder / "artifacts"
    if at == own or (at.exists() and own.exists() and at.samefile(own)):
        return ""
    return str(at)


def ui_command(store_uri: str, uri: str | None, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command that serves MLflow's UI on the tracker of a store, and what it needs in its environment:
    the address may hold a password, and arguments are seen by every user of the machine.

    Raises:
        StoreError: the store has no runs to show.
        UsageError: the tracker is a server, which shows its runs itself.
    """
    store = Store(store_uri)
    address = tracking_uri(store, uri)
    if address.startswith(("http://", "https://")):
        raise UsageError(f"the tracker is a server: open {masked(address)} in a browser")
    if _has_none_yet(store, uri):
        raise StoreError(
            f"the store {store_uri} has no MLflow database yet",
            hint="run a grid first, or name the store with --store",
        )
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    return command, {"MLFLOW_BACKEND_STORE_URI": address}


def _has_none_yet(store: Store, uri: str | None) -> bool:
    """The tracker would be the store's own database, and that is not there."""
    folder = tracking_folder(store)
    return tracking_uri(store, uri) == local_uri(folder) and not (folder / "mlflow.db").exists()
