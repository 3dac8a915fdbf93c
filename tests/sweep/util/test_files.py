"""Temporary names of any file: short enough for a file system, and recognised as left behind."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from ssl_sweep.sweep.util.files import left_behind, temporary, whole


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=100))
@example("é" * 120)
@example(".a.b.parquet")
def test_a_temporary_name_fits_any_file_system(name: str) -> None:
    made = temporary(Path("folder"), name)
    assert made.parent == Path("folder")
    assert len(os.fsencode(made.name)) <= 255 and made.name.startswith(".") and made.name.endswith(".tmp")
    assert not left_behind(made.name, lambda: 0.0)  # this process is alive


def test_a_file_with_the_longest_name_can_be_written(tmp_path: Path) -> None:
    with whole(tmp_path / ("x" * 251 + ".csv")) as partial:
        partial.write_text("rows")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
