"""Errors a user can act on, each with the exit code of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ssl_sweep.data_ops.errors import nearest


class SweepError(Exception):
    """Something that the user can fix. ``hint`` says what to do next."""

    exit_code = 1
    """Exit code of the process."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def report(self) -> str:
        """What the command line prints: the message, then the hint on its own line."""
        text = str(self) if "\n" in str(self) else f"error: {self}"
        return f"{text}\nhint: {self.hint}" if self.hint else text


@dataclass(frozen=True, order=True)
class Located:
    """One problem and its place. Lines and columns count from 1; line 0 means that the source has no
    lines."""

    file: str
    line: int
    col: int
    message: str
    dataset: str = ""
    """Name of the dataset that it is about, if that cannot be read."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        return f"{where}: {f'datasets.{self.dataset}: ' if self.dataset else ''}{self.message}"


class GridError(SweepError):
    """Every problem found in a grid file, in file order."""

    exit_code = 2

    def __init__(self, problems: Iterable[Located], *, hint: str | None = None) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)


class InfeasibleError(SweepError):
    """The sweep asks for more than the machine, the cluster or a limit allows."""

    exit_code = 3


class UsageError(SweepError):
    """A command was given arguments that it cannot use."""

    exit_code = 2


class StoreError(SweepError):
    """The store cannot be used: it is not writable, its address is not supported, or its content differs."""

    exit_code = 2


class DamagedError(StoreError):
    """A file of a finished stage is missing, cut short, or differs from the committed one."""

    exit_code = 1


class UnreachableError(StoreError):
    """The store did not answer in time; it may answer later."""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of ``names``, `` (one of: …)`` for a short list, else
    ``""``."""
    known = sorted(set(names))
    few = f" (one of: {', '.join(known)})" if 0 < len(known) <= 12 else ""
    return nearest(word, known) or few


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class if it has no text."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
