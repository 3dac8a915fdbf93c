"""``ssl-sweep data check``: decode every image and report every problem. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.data_ops.preparation.check import FEW, Finding, Scanned, check_across, check_dataset, severe
from ssl_sweep.data_ops.preparation.scan import SplitScan, scan
from ssl_sweep.data_ops.sources.registry import Source
from ssl_sweep.sweep.datasets.commands import Document, OnProgress, read_datasets, roles
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.util.cores import cores


@dataclass(frozen=True, kw_only=True)
class CheckedRow:
    """Counts of one dataset; ``classes`` has one number per level.

    ``passed_over``: files that were found beside the images.
    """

    name: str
    images: int
    bad: int
    unlabelled: int
    passed_over: int
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Checked(Document):
    """All findings: of each dataset, then across datasets."""

    datasets: tuple[CheckedRow, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return 1 if severe(self.findings) else 0


def check_datasets(
    path: Path, overrides: Iterable[str] = (), on_progress: OnProgress | None = None, few: int = FEW
) -> Checked:
    """Decode every image of every dataset of a grid and report every problem.

    Nothing is written, and the datasets need not be prepared.

    Args:
        path: the grid file.
        overrides: ``key=value`` changes to it.
        on_progress: called with the progress.
        few: report classes with fewer training images than this.

    Raises:
        GridError: the grid file is wrong.
    """
    grid, catalog, unreadable = read_datasets(path, overrides, None)
    pretrained, evaluated = roles(grid)
    drops = grid.leakage == "drop"
    rows, findings, scanned = [], [], []
    done: dict[Source, tuple[SplitScan, SplitScan]] = {}  # two datasets may be the same source at two sizes
    for name, entry in grid.datasets.items():
        source = entry.value.to_source()
        if name in unreadable:
            findings.append(Finding(kind="unreadable", dataset=name, message=unreadable[name]))
            continue
        if source not in done:
            done[source] = scan(source, _progress_of(catalog[name], on_progress), cores())
        data = Scanned(
            name=name,
            source=source,
            splits=done[source],
            pretrains=name in pretrained,
            evaluates=name in evaluated,
        )
        skips = source.on_bad_image == "skip"
        findings += check_dataset(data, skips_bad=skips, drops_leaks=drops, few=few)
        scanned.append(data)
        rows.append(_checked_row(data))
    findings += check_across(scanned, drops_leaks=drops)
    return Checked(tuple(rows), tuple(findings))


def _progress_of(info: DatasetInfo, on_progress: OnProgress | None) -> Callable[[int], None]:
    def advance(done: int) -> None:
        if on_progress is not None:
            on_progress(info.name, done, info.n_train + info.n_test)

    return advance


def _checked_row(data: Scanned) -> CheckedRow:
    by_split = [split.class_counts() for split in data.splits]
    levels = zip(*(counts for counts in by_split if counts), strict=True)
    return CheckedRow(
        name=data.name,
        images=sum(len(split) + len(split.bad) + len(split.left_out) for split in data.splits),
        bad=sum(len(split.bad) for split in data.splits),
        unlabelled=sum(split.n_unlabeled for split in data.splits),
        passed_over=sum(one.n for split in data.splits for one in split.passed_over),
        classes=tuple(len(set().union(*counts)) for counts in levels),
    )
