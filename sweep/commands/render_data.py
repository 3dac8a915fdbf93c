"""What the ``data`` commands print. It is not in ``data``, so that ``--help`` need not load rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ssl_sweep.data_ops.dataset.passed_over import summary
from ssl_sweep.data_ops.preparation.check import Finding
from ssl_sweep.sweep.datasets.check import Checked
from ssl_sweep.sweep.datasets.commands import DatasetList, Document, PreparedList, SourceList
from ssl_sweep.sweep.datasets.inspect import Inspection, LevelFacts
from ssl_sweep.sweep.run.progress import duration

_COPIES_SHOWN = 20  # lines of copies; --json has all
_COPIES = ("copies within a split", "copies across splits", "copies across datasets", "leak")


def print_found(found: Document, out: Console) -> None:
    """Print the result of a data command."""
    match found:
        case SourceList():
            _print_sources(found, out)
        case DatasetList():
            _print_datasets(found, out)
        case Inspection():
            _print_inspection(found, out)
        case PreparedList():
            _print_prepared(found, out)
        case Checked():
            _print_checked(found, out)


def _print_sources(found: SourceList, out: Console) -> None:
    """One line per row."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in found.sources:
        table.add_row(row.name, row.kind, escape(row.about))
    out.print(table)


def _print_datasets(found: DatasetList, out: Console) -> None:
    """A row per dataset; below, why the others cannot be read."""
    table = Table("dataset", "source", box=None, pad_edge=False)
    for name in ("px", "train", "labelled", "test"):
        table.add_column(name, justify="right")
    table.add_column("prepared")
    for row in found.datasets:
        counts = (row.n_train, row.n_labeled, row.n_test)
        state = "[red]unreadable[/red]" if row.problem else "yes" if row.prepared else "no"
        shown = ["·" if n is None else f"{n:,}" for n in counts]
        table.add_row(escape(row.name), row.source, str(row.size), *shown, state)
    out.print(table)
    for row in found.datasets:
        if row.problem:
            out.print(f"[red]{escape(row.name)}[/red]: {escape(row.problem)}", soft_wrap=True)


def _print_inspection(found: Inspection, out: Console) -> None:
    """Counts, sizes, classes, copies and skipped images of one dataset."""
    state = f"prepared, fingerprint {found.fingerprint[:16]}" if found.prepared else "not prepared"
    out.print(f"[bold]{escape(found.name)}[/bold]: {found.source}, {found.size} px, {state}", soft_wrap=True)
    for split in found.splits:
        parts = [f"{split.images:,} images"]
        if split.unlabelled:
            parts.append(f"{split.unlabelled:,} without a label")
        if split.groups:
            parts.append(f"{split.groups:,} groups")
        parts.append(f"{split.copies:,} exact copies")
        out.print(f"  {split.name}: {', '.join(parts)}")
    if found.shared:
        out.print(f"  [red]test images that are also training images: {found.shared:,}[/red]")
    if found.sizes is not None:
        smallest, median, largest = (
            f"{width} × {height}"
            for width, height in (found.sizes.smallest, found.sizes.median, found.sizes.largest)
        )
        read = f"{found.sizes.images:,} images read"
        out.print(f"  before resizing: {smallest} to {largest} px, median {median} ({read})")
    if found.levels:
        table = Table("level", box=None, pad_edge=False)
        for name in ("classes", "imbalance", "without training images"):
            table.add_column(name, justify="right")
        for name in ("largest", "smallest"):
            table.add_column(name)
        for level in found.levels:
            table.add_row(*_level_row(level))
        out.print(table)
    if found.skipped:
        out.print(f"{len(found.skipped):,} images skipped:")
        for name in found.skipped:
            out.print(f"  {escape(name)}", soft_wrap=True)
    if found.passed_over:
        images = sum(split.images for split in found.splits)
        out.print(escape(summary(found.passed_over, images)), soft_wrap=True)
        for one in found.passed_over:
            out.print(f"  {escape(str(one))}", soft_wrap=True)


def _level_row(level: LevelFacts) -> tuple[str, ...]:
    ends = [
        escape(", ".join(f"{name} {n:,}" for name, n in classes))
        for classes in (level.largest, level.smallest)
    ]
    return escape(level.level), f"{level.classes:,}", f"{level.imbalance:,.1f}", f"{level.empty:,}", *ends


def _print_prepared(found: PreparedList, out: Console) -> None:
    """One line per row."""
    for row in found.datasets:
        if row.state == "failed":
            out.print(f"[red]failed[/red]    {escape(row.name)}: {escape(row.problem)}", soft_wrap=True)
            continue
        images = f"{row.n_train:,} training and {row.n_test:,} test images"
        left_out = f", {len(row.skipped):,} skipped" if row.skipped else ""
        took = f" in {duration(row.seconds)}" if row.state == "prepared" else ""
        out.print(f"{row.state:<8}  {escape(row.name)} ({row.id}): {images}{left_out}{took}", soft_wrap=True)


def _print_checked(found: Checked, out: Console) -> None:
    """What was read, then every finding with its images or classes."""
    for row in found.datasets:
        parts = [f"{row.images:,} images", f"{row.bad:,} bad"]
        if row.unlabelled:
            parts.append(f"{row.unlabelled:,} without a label")
        if row.passed_over:
            parts.append(f"{row.passed_over:,} other files passed over")
        parts.append(" / ".join(f"{n:,}" for n in row.classes) + " classes" if row.classes else "no classes")
        out.print(f"{escape(row.name)}: {', '.join(parts)}", soft_wrap=True)
    for finding in found.findings:
        colour, word = ("red", "problem") if finding.severe else ("yellow", "note")
        where = " ".join(
            part for part in (finding.dataset, f"({finding.split})" if finding.split else "") if part
        )
        out.print(
            f"[{colour}]{word}[/{colour}] {escape(where)}: {finding.kind}: {escape(finding.message)}",
            soft_wrap=True,
        )
        for line in _items(finding):
            out.print(f"  {escape(line)}", soft_wrap=True)
    problems = sum(finding.severe for finding in found.findings)
    out.print(f"{_count(problems, 'problem')}, {_count(len(found.findings) - problems, 'note')}")


def _items(finding: Finding) -> Sequence[str]:
    if finding.kind not in _COPIES or len(finding.items) <= _COPIES_SHOWN:
        return finding.items
    rest = len(finding.items) - _COPIES_SHOWN
    return [*finding.items[:_COPIES_SHOWN], f"… and {rest:,} more pictures (--json lists all)"]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")
