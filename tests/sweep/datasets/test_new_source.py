"""A source is one file and one line: the rest of the program follows from its fields."""

from __future__ import annotations

from typing import Any

import pytest
from light_run import NoMirror
from process_workplace import ProcessWorkplace
from stripes_source import StripesSource

from ssl_sweep.data_ops.sources.registry import SOURCES
from ssl_sweep.sweep.datasets.commands import list_sources
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.run import run as run_module
from ssl_sweep.sweep.run.progress import LineListener

GRID = """\
name: added
datasets:
  lines: {source: stripes, images: 24, size: 8}
pretrain:
  - {method: random, encoder: resnet18, seed: 0}
evaluate:
  - {domain: lines, labels: 16, protocol: knn}
"""


@pytest.mark.slow
def test_a_new_source_runs_to_the_results_table(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "stripes", StripesSource)
    monkeypatch.setattr(run_module, "Mirror", NoMirror)
    result = run_module.run(
        sweeps.write(GRID),
        (),
        store_uri=str(sweeps.store.root),
        tracking_uri=None,
        address=None,
        listener=LineListener(),
        workplace=ProcessWorkplace(workers=1),
    )
    (row,) = result.table.to_pylist()
    assert (row["status"], row["eval_domain"], row["n_test"]) == ("complete", "lines", 24)
    assert ("stripes", "Noise with horizontal or vertical stripes") in [
        (row.name, row.about) for row in list_sources().sources
    ]


def test_its_keys_are_checked_as_those_of_any_source(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "stripes", StripesSource)
    with pytest.raises(GridError, match="images: should be greater than or equal to 2"):
        sweeps.plan(GRID.replace("24", "1"))
    with pytest.raises(GridError, match=r"unknown key 'imges' \(did you mean 'images'"):
        sweeps.plan(GRID.replace("images", "imges"))
