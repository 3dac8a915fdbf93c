"""YAML with marks: plain Python data plus, for every key and value, the line and column it came from.

Scalars follow YAML 1.2's core rules. PyYAML's default, YAML 1.1, surprises users: here ``no``, ``yes`` and
``on`` are text, ``1e-4`` is a number, ``010`` is ten and ``1:30`` is text. A number keeps its text, for keys
that hold names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ssl_sweep.sweep.errors import GridError, Located

KeyPath = tuple[str | int, ...]
"""The place of a value in the data: keys and list positions from the top."""

MAX_VALUES = 200_000
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_MAX_DIGITS = 4000  # Python itself refuses to parse numbers of very many digits
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_NAMES = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in _NAMES}  # YAML 1.1 gives plain words the last three


class WrittenInt(int):
    """An integer whose text is kept: a dataset may be called 010."""

    text: str

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A number whose text is kept: a sweep may be called 1.10."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Mark:
    """The place of a key and of its value."""

    file: str
    """A file's name, or an override."""
    line: int
    """Counts from 1; 0 in an override, which has no lines."""
    col: int
    key_line: int
    key_col: int


@dataclass(frozen=True)
class YamlSource:
    """A YAML document with the place of every value."""

    file: str
    folder: Path
    """Relative paths in the file start here."""
    data: Any
    marks: Mapping[KeyPath, Mark] = field(repr=False)

    def mark(self, path: KeyPath) -> Mark:
        """The mark of ``path``, or of the nearest value around it that has a mark."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks.get(path, Mark(self.file, 1, 1, 1, 1))

    def problem(self, path: KeyPath, message: str, *, key: bool = False) -> Located:
        """A located message about the value at ``path``, or about its key."""
        mark = self.mark(path)
        line, col = (mark.key_line, mark.key_col) if key else (mark.line, mark.col)
        return Located(mark.file, line, col, message)

    def overridden(self, path: KeyPath) -> bool:
        """Whether the value came from the command line."""
        return self.mark(path).line == 0

    def axis_path(self, block: KeyPath, key: str, i: int) -> KeyPath:
        """The place of value ``i`` of an axis: the axis itself if it has a single value instead of a list."""
        path = (*block, key, i)
        return path if path in self.marks else path[:-1]

    def with_value(self, path: KeyPath, value: Any, name: str) -> YamlSource:
        """A copy with ``value`` at ``path``, whose parents exist; messages call its source ``name``."""
        marks = {key: mark for key, mark in self.marks.items() if key[: len(path)] != path}
        for depth in range(len(path), 0, -1):
            marks.setdefault(path[:depth], Mark(name, 0, 0, 0, 0))
        return replace(self, data=_replaced(self.data, path, value), marks=marks)


def _replaced(data: Any, path: KeyPath, value: Any) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(data, list) and isinstance(head, int):
        return [_replaced(item, rest, value) if i == head else item for i, item in enumerate(data)]
    return {**data, head: _replaced(data.get(head, {}), rest, value)}


def read_yaml(path: Path) -> YamlSource:
    """Read a YAML file.

    Raises:
        GridError: the file is missing, not UTF-8 or not YAML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise GridError([Located(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise GridError([Located(str(path), 0, 0, f"is not UTF-8 text (byte {error.start})")]) from error
    return parse_yaml(text, file=str(path), folder=path.absolute().parent)


def parse_yaml(text: str, *, file: str, folder: Path) -> YamlSource:
    """Parse one YAML document.

    Raises:
        GridError: all duplicate keys and unsupported tags, or the first syntax error.
    """
    builder = _Builder(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = builder.value(node, (), (1, 1), ()) if node is not None else None
    except RecursionError:
        raise GridError([Located(file, 0, 0, "its values are nested too deeply")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise GridError([Located(file, line, col, _syntax_message(text, error, line))]) from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise GridError([_character_problem(text, file, error)]) from error
    if builder.problems:
        raise GridError(builder.problems)
    return YamlSource(file, folder, data, builder.marks)


def parse_value(text: str) -> Any:
    """One YAML value, as given to an override. Raises ValueError if it is not YAML."""
    try:
        return parse_yaml(text, file="value", folder=Path()).data
    except GridError as error:
        raise ValueError(error.problems[0].message) from error


def _syntax_message(text: str, error: yaml.MarkedYAMLError, line: int) -> str:
    lines = text.splitlines()
    if (
        0 < line <= len(lines)
        and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    ):
        return "a tab in the indentation; YAML indents with spaces"
    return f"not YAML: {error.problem or error.context or error}"


def _character_problem(text: str, file: str, error: yaml.YAMLError) -> Located:
    position = getattr(error, "position", 0)
    before = text[:position]
    message = f"a character that YAML does not allow: {text[position : position + 1]!r}"
    return Located(file, before.count("\n") + 1, position - before.rfind("\n"), message)


class _Builder:
    """Turns composed YAML nodes into data, and collects marks and problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.marks: dict[KeyPath, Mark] = {}
        self.problems: list[Located] = []
        self._values = 0

    def _problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(
            Located(self.file, node.start_mark.line + 1, node.start_mark.column + 1, message)
        )

    def value(self, node: yaml.Node, path: KeyPath, key: tuple[int, int], parents: tuple[int, ...]) -> Any:
        """The data of a YAML node.

        Args:
            key: line and column of its key.
            parents: ``id()`` of the YAML nodes around it.
        """
        line, col = node.start_mark.line + 1, node.start_mark.column + 1
        self.marks[path] = Mark(self.file, line, col, *key)
        if id(node) in parents:
            self._problem(node, "an alias that contains itself")
            return None
        if not self._count(node):
            return None
        if node.tag not in _TAGS:
            self._problem(node, f"the tag {node.tag} is not allowed; plain YAML values only")
            return None
        parents = (*parents, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, parents)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.value(item, (*path, i), (item.start_mark.line + 1, item.start_mark.column + 1), parents)
                for i, item in enumerate(node.value)
            ]
        assert isinstance(node, yaml.ScalarNode)
        return scalar(node.value, quoted=node.style is not None)

    def _count(self, node: yaml.Node) -> bool:
        """Whether one more value is allowed: aliases of aliases can stand for billions of values."""
        self._values += 1
        if self._values == MAX_VALUES + 1:
            self._problem(node, f"the file has more than {MAX_VALUES:,} values")
        return self._values <= MAX_VALUES

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, parents: tuple[int, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, item in node.value:  # merged keys first, so that the mapping's own replace them
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None:
                bases = item.value if isinstance(item, yaml.SequenceNode) else [item]
                for base in reversed(bases):  # of several, the first wins
                    if not isinstance(base, yaml.MappingNode) or id(base) in parents:
                        self._problem(base, "<< must refer to a mapping")
                    elif self._count(base):
                        data |= self._mapping(base, path, (*parents, id(base)))
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, "a key must be a single value, not a list or a mapping")
                continue
            name, line = key.value, key.start_mark.line + 1
            if name == "<<" and key.style is None:
                continue
            if name in first:
                self._problem(key, f"the key {name!r} is given twice (first in line {first[name]})")
                continue
            first[name] = line
            data[name] = self.value(item, (*path, name), (line, key.start_mark.column + 1), parents)
        return data


def scalar(text: str, *, quoted: bool = False) -> Any:
    """The value of a scalar by YAML 1.2's core rules."""
    if quoted:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return _as_written(WrittenInt, int(text), text) if len(text) <= _MAX_DIGITS else text
    if _FLOAT.fullmatch(text):
        return _as_written(WrittenFloat, float(text.replace(".inf", "inf").replace(".nan", "nan")), text)
    return text


def _as_written(kind: Any, value: float, text: str) -> Any:
    if str(value) == text:
        return value
    number = kind(value)
    number.text = text
    return number
