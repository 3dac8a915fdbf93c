"""Names and values for MLflow, and addresses of its SQLite databases, made from any text.

MLflow refuses most punctuation, paths that are not normal, and long names. A refused name would keep its run
out of the mirror.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection
from pathlib import Path

MAX_NAME = 250
"""Longest name of a metric, a parameter or a run, in characters."""
MAX_PARAM = 6000
"""Longest value of a parameter, in characters."""
DEFAULT_EXPERIMENT = "Default"
"""MLflow's own experiment, whose artifacts are in the current folder."""

_BAD = re.compile(r"[^\w.\- :/]")
_CLEANED = re.compile(r"--[0-9a-f]{8}\Z")
_MARK = 10  # characters of -- and the digits


def name_of(text: str, reserved: Collection[str] = ()) -> str:
    """Return the name under which MLflow has ``text``.

    A text that MLflow accepts is its own name. In any other text, characters that it refuses become ``_``,
    and a digest of the text follows. So the name is the same every time, and two texts never have one name.

    Args:
        text: Any text.
        reserved: Texts that are not to be their own names.
    """
    if text not in reserved and _accepted(text) and not _CLEANED.search(text):
        return text
    kept = _BAD.sub("_", text).replace("/", "_").lstrip(".")[: MAX_NAME - _MARK]
    return f"{kept}--{_digest(text)}"


def value_of(text: str, most: int) -> str:
    """Return ``text`` as a value that any database can hold, of at most ``most`` characters.

    NUL and lone surrogates are written as escapes. A longer text ends with a digest of all of it.
    """
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= most else f"{text[: most - _MARK]}--{_digest(text)}"


def sqlite_uri(database: Path) -> str:
    """Return the address of an SQLite database, whatever is in its path."""
    text = str(database)
    if not set("?%").intersection(text):
        return f"sqlite:///{text}"
    from sqlalchemy.engine import URL  # its releases differ in what they escape

    return URL.create("sqlite", database=text).render_as_string()


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite address; None for any other address, and for a database in memory."""
    if not uri.startswith("sqlite:///"):
        return None
    if not set("?%").intersection(uri):
        text = uri.removeprefix("sqlite:///")
    else:
        from sqlalchemy.engine import make_url

        text = make_url(uri).database or ""
    return Path(text) if text and text != ":memory:" else None


def _accepted(text: str) -> bool:
    normal = posixpath.normpath(text) == text and text != "." and not text.startswith(("..", "/"))
    return normal and len(text) <= MAX_NAME and not _BAD.search(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
