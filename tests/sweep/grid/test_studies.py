"""Every preset is a valid grid, and takes what its header says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.cost.estimate import CostEstimate, estimate
from ssl_sweep.sweep.cost.machine import machine
from ssl_sweep.sweep.errors import GridError, UsageError
from ssl_sweep.sweep.grid.studies import STUDIES, preset, question, write_preset
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid, plan_in
from ssl_sweep.sweep.store.store import Store

EXAMPLES = Path(__file__).parents[3] / "examples"
OWN_DATA = ("paper", "four-domains")
EMBEDDED = [study for study in STUDIES if study not in OWN_DATA]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """study -> (its plan, what it takes), without any data on disk."""
    folder = tmp_path_factory.mktemp("presets")
    known: dict[str, tuple[Plan, CostEstimate]] = {}

    def of(study: str) -> tuple[Plan, CostEstimate]:
        if study not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("SSL_SWEEP_DATA", raising=False)
                grid = write_preset(study, folder / f"{study}.yaml")
                store = Store(folder / "store")
                asked, plan = plan_grid(grid, (), store, expect=True)
            place = machine(asked.compute, 2, 0)
            known[study] = (plan, estimate(plan, store, asked.compute, place))
        return known[study]

    return of


@pytest.mark.parametrize("study", STUDIES)
def test_the_header_says_command_cost_and_what_comes_out(study: str, planned: Any) -> None:
    text = preset(study)
    for word in ("Command:", f"ssl-sweep run {study}.yaml", "Cost:", "Figures:", "Findings:"):
        assert word in text
    plan, takes = planned(study)
    assert plan.sweep == study
    hours = study == "paper"
    stated = re.search(r"# Cost: +about ([\d,]+) (minutes on 2 CPU cores|GPU-hours)", text)
    assert stated and ("GPU" in stated[2]) == hours
    expected = takes.device_s / 3600 if hours else takes.device_s / 60 / 2
    assert expected / 2 < float(stated[1].replace(",", "")) < expected * 2
    assert takes.device == ("gpu" if hours else "cpu")


@pytest.mark.parametrize("study", EMBEDDED)
def test_it_takes_embedded_domains_and_shows_where_other_data_goes(study: str, planned: Any) -> None:
    text = preset(study)
    assert re.search(r"^  # \w+: \{source: folder", text, re.MULTILINE)
    plan, takes = planned(study)
    assert not any(note.kind == "assumed" for note in plan.notes)
    seeds: dict[Any, set[int]] = {}
    for cell in plan.cells:
        if not cell.fused:
            seeds.setdefault(_but_for_seed(cell), set()).add(cell.pretraining.seeds[1])
    assert all(found == {0, 1, 2} for found in seeds.values())  # what a verdict takes
    assert 2 * 5 * 60 < takes.device_s < 2 * 40 * 60


def _but_for_seed(cell: Cell) -> Any:
    label = cell.pretraining.label.rpartition(" · ")[0]
    config = cell.pretraining.spec.config
    recipe = (config.epochs, config.batch, config.head_layers, config.temperature)
    asked = (cell.evaluation.name, cell.probe.n_labels, cell.protocol, cell.representation, cell.probe.level)
    return (label, recipe, asked, cell.corruption, cell.probe.imbalance)


@pytest.mark.parametrize("study", EMBEDDED)
def test_it_is_possible_once_the_data_is_prepared(study: str, sweeps: Any) -> None:
    """Classes and levels are known then, so that tails and levels can be refused."""
    from ssl_sweep.data_ops.synthetic.domains import domain_named

    grid = write_preset(study, sweeps.folder / "grid.yaml")
    _, before = plan_grid(grid, (), sweeps.store)
    for stage in before.prepares:
        source = stage.spec.source
        domain = domain_named(source.domain)
        classes = len(domain.lineage)
        outputs = sweeps.outputs(
            stage,
            n_train=source.train,
            n_test=source.test,
            levels=domain.levels,
            class_counts=[[source.train // classes] * classes],
        )
        sweeps.commit(stage, outputs)
    _, plan = plan_grid(grid, (), sweeps.store)
    assert not plan.prepares and len(plan.cells) >= len(before.cells)


def test_the_paper_is_whole(planned: Any) -> None:
    plan, takes = planned("paper")
    assert Counter(note.kind for note in plan.notes) == {"assumed": 4}
    sizes = {c.pretraining.images for c in plan.cells if c.pretraining.domain == "inat21"}
    assert sizes == {50_000, 125_000, 250_000, 500_000, 1_000_000, 2_686_843}
    budgets = {c.probe.n_labels for c in plan.cells if c.evaluation.name == "imagenet"}
    assert budgets == {10_000, 50_000, 125_000, 250_000, 500_000, 1_000_000, 1_281_167}
    matrix = {
        (c.pretraining.domain, c.evaluation.name)
        for c in plan.cells
        if c.pretraining.images == 1_000_000 and c.probe.n_labels == c.evaluation.n_train and not c.fused
    }
    four = ("inat21", "imagenet", "places365", "glc20")
    assert {(a, b) for a in four for b in four} <= matrix
    said = "\n".join(takes.lines())
    assert f"{len(plan.pretrainings)} trainings serve {len(plan.cells)} cells" in said
    assert "H200 (assumed)" in said and f"({len(plan.pretrainings)} default guess)" in said
    assert "one training per cell would take" in said and takes.alone_s > 3 * takes.shared_s
    assert takes.cost == pytest.approx(takes.device_s / 3600 * 5.41) and "to be checked" in said


@pytest.mark.parametrize(("example", "study"), [("paper", "paper"), ("four_domains", "four-domains")])
def test_the_examples_are_the_presets(example: str, study: str) -> None:
    assert (EXAMPLES / f"{example}.yaml").read_text() == preset(study)


def test_what_is_written_is_the_preset_and_nothing_is_overwritten(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    assert write_preset("quality", grid).read_text() == preset("quality")
    with pytest.raises(UsageError, match=r"grid\.yaml exists already") as refused:
        write_preset("domain", grid)
    assert refused.value.exit_code == 2 and "--force" in refused.value.report()
    assert grid.read_text() == preset("quality")
    assert write_preset("domain", grid, force=True).read_text() == preset("domain")
    with pytest.raises(UsageError, match="did you mean 'granularity'"):
        write_preset("granuality", tmp_path / "other.yaml")
    with pytest.raises(UsageError, match="cannot be written"):
        write_preset("domain", grid / "below.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]


def test_every_study_has_a_question() -> None:
    assert preset("four_domains") == preset("four-domains")
    questions = [question(study) for study in STUDIES]
    assert len(set(questions)) == len(STUDIES) and all(10 < len(text) <= 118 for text in questions)


EXPECTING = """\
name: demo
datasets:
  there: {source: synthetic, domain: objects, train: 100, test: 50}
  mine: {source: parquet, train: TRAIN, test: gone/test.parquet, expect: {train: 1000, test: 100}}
pretrain:
  - {domain: mine, images: [500, all], epochs: 1, batch: 64}
evaluate:
  - {domain: mine, labels: all}
"""


def test_expected_sizes_stand_in_for_a_plan_only(sweeps: Any) -> None:
    grid = sweeps.write(EXPECTING.replace("TRAIN", "gone/train-*.parquet"))
    plan, _ = plan_in(grid, (), str(sweeps.store.root))
    assert {c.pretraining.images for c in plan.cells} == {500, 1000}
    assert tuple(map(str, plan.notes)) == (
        "assumed: 1,000 training and 100 test images of mine, as its expect says; its files are missing, and"
        " run needs them",
    )
    with pytest.raises(GridError, match=r"grid\.yaml:4:\d+: datasets\.mine: .*gone"):
        plan_grid(grid, (), sweeps.store)  # as run does
    with pytest.raises(GridError, match="labels: 2000 is 2000 images; 'mine' has 1000"):
        plan_in(grid, ["evaluate.labels=2000"], str(sweeps.store.root))


@pytest.mark.parametrize("train", ["here.parquet", "*.parquet"])
def test_what_is_here_is_looked_at_and_not_expected(train: str, sweeps: Any) -> None:
    (sweeps.folder / "here.parquet").write_bytes(b"no parquet")
    with pytest.raises(GridError, match=r"datasets\.mine: .*here\.parquet"):
        plan_in(sweeps.write(EXPECTING.replace("TRAIN", repr(train))), (), str(sweeps.store.root))
