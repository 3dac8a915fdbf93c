"""A new release of Ray may change its private API: one module uses it, and what that needs exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ssl_sweep

PACKAGE = Path(ssl_sweep.__file__).parent
PRIVATE = re.compile(r"\._|\.core\b|\bclass_cache\b")


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a module imports."""
    for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(each, ast.Import):
            yield from (name.name for name in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            yield from (f"{each.module}.{name.name}" for name in each.names)


def private(path: Path) -> set[str]:
    """The names of Ray's private API that a module imports."""
    return {name for name in imported(path) if name.startswith("ray.") and PRIVATE.search(name)}


@pytest.mark.smoke
def test_one_module_uses_what_ray_keeps_private() -> None:
    modules = [path for part in ("sweep", "ssl_core", "data_ops") for path in (PACKAGE / part).rglob("*.py")]
    users = {path.relative_to(PACKAGE).as_posix() for path in modules if private(path)}
    assert users == {"sweep/cluster/internals.py"}
