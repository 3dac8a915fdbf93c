"""Paths and addresses of datasets, as a grid writes them.

``${VAR}`` and ``${VAR:-default}`` come from the environment. A relative path in the file starts from the
file's folder; one from an override starts from the current directory, where it was typed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.sweep.util.addresses import CREDENTIALS_HINT, malformed, secret_in

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_BRACES, _BOUNDS = re.compile(r"\{([^{}]*)\}"), re.compile(r"([0-9]+)\.\.([0-9]+)")
_MAX_FILES, _MAX_DIGITS = 1_000_000, 18


def resolve_path(text: str, base: Path) -> str:
    """A path as an absolute one, or an address, with variables expanded.

    Args:
        base: the folder from which a relative path starts.

    Raises:
        ValueError: a variable is not set, the path holds a NUL character, or the address is not valid or
            holds a secret.
    """
    text = _expanded(text)
    if "\0" in text:
        raise ValueError(f"{text!r} holds a NUL character, which no path has")
    if secret := secret_in(text):
        raise ValueError(
            f"the address holds {secret}, which would be kept with every result; {CREDENTIALS_HINT}"
        )
    remote = is_remote(text)
    if remote and (why := malformed(text)):
        raise ValueError(f"{text!r} is not a valid address: {why}")
    _require_few(text)
    if remote:
        return text
    try:
        return os.path.normpath(base / Path(text).expanduser())
    except RuntimeError as error:  # ~user, and there is no such user
        raise ValueError(str(error)) from None


def _expanded(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        found = os.environ.get(name, "")
        if found or default is not None:
            return found or str(default)
        raise ValueError(f"the environment variable {name} is not set; set it or write ${{{name}:-a/path}}")

    return _VARIABLE.sub(value, text)


def _require_few(text: str) -> None:
    """Raises ValueError if the braces in a name stand for an absurd number of files."""
    names = 1
    for inside in _BRACES.findall(text):
        bounds = _BOUNDS.fullmatch(inside)
        # Python itself refuses to parse numbers of very many digits
        low, high = (
            (int(each[-_MAX_DIGITS:]) for each in bounds.groups()) if bounds else (0, inside.count(","))
        )
        many = bounds is not None and any(len(each.lstrip("0")) > _MAX_DIGITS for each in bounds.groups())
        names *= _MAX_FILES + 1 if many else max(0, high - low + 1)
    if names > _MAX_FILES:
        raise ValueError(
            f"{text!r} stands for more than {_MAX_FILES:,} files; check the numbers in its braces"
        )
