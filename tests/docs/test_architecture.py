"""Files and names that the pages point to exist."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DATED = {"measurements.md"}  # says what was true on a day
PAGES = sorted(p for p in DOCS.rglob("*.md") if p.name not in DATED) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md")
]
TARGET = re.compile(r"`((?:sweep|ssl_core|data_ops|tests|cli)[\w/]*\.py):([A-Za-z_][\w.]*)`")
FILE = re.compile(
    r"(?<!as )`((?:sweep|ssl_core|data_ops|tests|benchmarks|examples|deploy|docs)/[\w./-]+\.\w+)`"
)
TEST = re.compile(r"`(?:[\w/]*?)?(test_\w+\.py)(?:::(test_\w+))?`")


def targets(page: Path) -> list[tuple[str, str]]:
    return TARGET.findall(page.read_text(encoding="utf-8"))


@cache
def names(path: Path) -> frozenset[str]:
    """The names that a module defines at its top, and `Class.method`."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef() | ast.ClassDef():
                    found.add(prefix + node.name)
                    if isinstance(node, ast.ClassDef):
                        visit(node.body, f"{prefix}{node.name}.")
                case ast.Assign(targets=assigned):
                    found.update(prefix + each.id for each in assigned if isinstance(each, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(prefix + name)

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


def test_every_question_has_an_answer_that_exists() -> None:
    rows = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Where is it?")[1].splitlines()
    questions = [row for row in rows if row.startswith("| ") and "?" in row]
    assert len(questions) >= 12
    assert all(TARGET.search(row) for row in questions)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_exists(page: Path) -> None:
    missing = [
        f"{file}:{name}"
        for file, name in targets(page)
        if not (ROOT / file).is_file() or name not in names(ROOT / file)
    ]
    text = page.read_text(encoding="utf-8")
    missing += [
        file
        for file in FILE.findall(text)
        if not (ROOT / file).exists() and not (ROOT / "tests" / file).exists()
    ]
    assert not missing


def test_every_test_that_a_page_names_exists() -> None:
    tests: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        tests.setdefault(path.name, set()).update(names(path))
    missing = {
        f"{page.name}: {file}::{name}"
        for page in PAGES
        for file, name in TEST.findall(page.read_text(encoding="utf-8"))
        if file not in tests or (name and name not in tests[file])
    }
    assert not missing


def test_the_picture_has_the_layers_of_the_contracts() -> None:
    picture = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    boxes = re.findall(r'y="([\d.]+)"[^>]*font-weight="600"[^>]*>([^<]+)<', picture)
    height = {name: float(y) for y, names in boxes for name in re.findall(r"\w+", names)}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    for part in ("sweep", "ssl_core", "data_ops"):
        rows = [
            [height[name] for name in re.findall(rf"ssl_sweep\.{part}\.(\w+)", layer)] for layer in layers
        ]
        assert all(max(upper) <= min(lower) for upper, lower in pairwise(filter(None, rows)))
