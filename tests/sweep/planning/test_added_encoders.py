"""Encoders of other distributions: one file and one entry point, from the grid to the results table."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_here import run_here

from ssl_sweep.ssl_core.config.plugins import added, encoder_info
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.sweep.errors import GridError

PAGE = Path(__file__).parents[3] / "docs" / "methods.md"
GRID = """\
name: added
datasets: {objects: {source: synthetic, domain: objects, train: 60, test: 30}}
pretrain:
  - {method: random, encoder: tiny, seed: 0}
  - {domain: objects, images: 40, batch: 8, epochs: 1, encoder: tiny}
evaluate: {domain: objects, labels: 30, protocol: knn, representation: [h, blocks.0]}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs the encoder of the documentation, in some version."""
    page = PAGE.read_text().partition("## An encoder of your own")[2]
    code, project = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "toml"))  # type: ignore[index]
    points = tomllib.loads(project)["project"]["entry-points"]["ssl_sweep.encoders"]

    def put(version: str) -> None:
        folder = tmp_path / f"site-{version}"
        info = folder / f"tiny_net-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tiny-net\nVersion: {version}\n")
        lines = "\n".join(f"{name} = {target}" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[ssl_sweep.encoders]\n{lines}\n")
        (folder / "tiny_net.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "tiny_net", raising=False)
        added.cache_clear()

    yield put
    added.cache_clear()


def test_the_documented_encoder_runs_to_the_results_table(
    sweeps: Any, install: Callable[[str], None]
) -> None:
    install("1.0")
    rows = run_here(sweeps, GRID)
    found = {(row["method"], row["representation"], row["encoder"], row["status"]) for row in rows}
    wanted = [(method, output) for method in ("random", "simclr") for output in ("h", "blocks.0")]
    assert found == {(*each, "tiny", "complete") for each in wanted}


def test_planning_reads_its_layers_and_width_and_imports_nothing(
    sweeps: Any, install: Callable[[str], None]
) -> None:
    install("1.0")
    info = encoder_info("tiny")
    assert (info.layers, info.feature_dim) == (("blocks.0", "blocks.1"), 64)
    assert len(sweeps.plan(GRID).cells) == 4
    assert "tiny_net" not in sys.modules


def test_its_version_is_part_of_what_is_trained(sweeps: Any, install: Callable[[str], None]) -> None:
    install("1.0")
    first = {stage.id for stage in sweeps.plan(GRID).stages if stage.kind == "pretrain"}
    install("1.1")
    second = {stage.id for stage in sweeps.plan(GRID).stages if stage.kind == "pretrain"}
    assert len(first) == len(second) == 2 and not first & second


def test_a_node_with_another_version_refuses_to_train(install: Callable[[str], None]) -> None:
    from ssl_sweep.ssl_core.methods.build import build_method

    install("1.1")
    config = default_config("tiny", 32, encoder_version="tiny-net 1.0")
    with pytest.raises(ValueError, match=r"encoder 'tiny' was planned as tiny-net 1\.0, and here it is"):
        build_method(config)


def test_without_the_distribution_there_is_no_such_encoder(sweeps: Any) -> None:
    with pytest.raises(GridError, match="no encoder 'tiny'"):
        sweeps.plan(GRID)
