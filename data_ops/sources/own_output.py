"""Folders that the program itself wrote. Their files are never images of a dataset."""

from __future__ import annotations

import os

STORE_MARK = ".ssl-sweep-store"
"""An empty file in the folder of every store that a run has used."""
REPORT_FILES = ("report.html", "findings.md", "results.parquet")
"""The files that only a report's folder has together."""


def is_own_output(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a store or a report."""
    if os.path.isfile(os.path.join(folder, STORE_MARK)):
        return True
    return all(os.path.isfile(os.path.join(folder, name)) for name in REPORT_FILES)
