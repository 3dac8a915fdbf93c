"""cli.py itself is small and imports no heavy library."""

from __future__ import annotations

import ast
from pathlib import Path

from ssl_sweep import cli


def test_the_command_line_only_declares_and_renders() -> None:
    text = Path(cli.__file__).read_text()
    assert len(text.splitlines()) <= 300
    tree = ast.walk(ast.parse(text))
    names = [
        name.name if isinstance(stage, ast.Import) else str(stage.module)
        for stage in tree
        if isinstance(stage, ast.Import | ast.ImportFrom)
        for name in stage.names
    ]
    roots = {name.split(".")[0] for name in names}
    assert roots.isdisjoint({"ray", "mlflow", "nvidia", "torch", "ssl_core", "data_ops"})
