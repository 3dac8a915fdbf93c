"""What gc finds, what it deletes, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.inspect.garbage import Garbage, collect
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.leases import Leases


@pytest.fixture
def grids(sweeps: Any) -> tuple[Path, Path]:
    """Two finished sweeps of one store, of which the second has a training that the first has not."""
    other = sweeps.grid.replace("images: [400, 600]", "images: [400, 500]").replace("demo", "other")
    for text in (sweeps.grid, other):
        sweeps.finish(sweeps.prepared(text).to_run)
    return sweeps.write(sweeps.grid, "one.yaml"), sweeps.write(other, "other.yaml")


def gc(sweeps: Any, *paths: Path, delete: bool = False, **more: bool) -> Garbage:
    return collect(paths, str(sweeps.store.root), delete=delete, **more)


def counts(found: Garbage) -> dict[str, int]:
    return {kind.name: kind.count for kind in found.kinds}


def to_run(sweeps: Any, path: Path) -> tuple[PlannedStage, ...]:
    return plan_grid(path, (), sweeps.store)[1].to_run  # type: ignore[no-any-return]


def test_what_other_grids_need_is_found_and_nothing_is_touched(sweeps: Any, grids: tuple[Path, Path]) -> None:
    one, other = grids
    before = sorted(sweeps.store.root.rglob("*"))
    found = gc(sweeps, one)
    assert counts(found) == {"pretrain": 3, "features": 12, "probe": 30}
    assert all(kind.bytes > 0 for kind in found.kinds) and "--delete" in found.notes[0]
    assert gc(sweeps, one, other).kinds == ()
    assert sorted(sweeps.store.root.rglob("*")) == before


def test_after_deleting_the_given_grids_run_nothing(sweeps: Any, grids: tuple[Path, Path]) -> None:
    one, other = grids
    size = sum(path.stat().st_size for path in sweeps.store.root.rglob("*") if path.is_file())
    found = gc(sweeps, one, delete=True)
    left = sum(path.stat().st_size for path in sweeps.store.root.rglob("*") if path.is_file())
    assert size - left == sum(kind.bytes for kind in found.kinds)
    assert to_run(sweeps, one) == ()
    assert {stage.kind for stage in to_run(sweeps, other)} == {"pretrain", "features", "probe"}
    assert gc(sweeps, one).kinds == ()
    assert not [name for name in os.listdir(sweeps.store.root) if name.startswith("stop")]


def test_features_go_where_no_stage_reads_them_any_more(sweeps: Any, grids: tuple[Path, Path]) -> None:
    one, other = grids
    probe = next(stage for stage in plan_grid(one, (), sweeps.store)[1].stages if stage.kind == "probe")
    sweeps.store.remove("probe", probe.id)
    before = len(sweeps.store.ids("features"))
    found = gc(sweeps, one, other, delete=True, features=True)
    assert len(sweeps.store.ids("features")) == 2 and counts(found) == {"features": before - 2}
    assert [stage.kind for stage in to_run(sweeps, one)] == ["probe"]  # and its features are there still


def test_prepared_data_go_only_where_it_is_asked(sweeps: Any, grids: tuple[Path, Path]) -> None:
    only = sweeps.write(
        "name: only\ndatasets: {objects: {source: synthetic, domain: objects, train: 1000, test: 200}}\n"
        "pretrain: {domain: objects, images: 400, epochs: 2, batch: 64}\n"
        "evaluate: {domain: objects, labels: 50}\n",
        "only.yaml",
    )
    assert "prepare" not in counts(gc(sweeps, only))
    assert counts(gc(sweeps, only, data=True))["prepare"] == 1


def test_checkpoints_stay_while_a_training_is_unfinished(sweeps: Any, grids: tuple[Path, Path]) -> None:
    one, other = grids
    done, undone, foreign = (
        next(n for n in plan_grid(path, (), sweeps.store)[1].pretrainings if f" {size} " in n.label)
        for path, size in ((one, 600), (one, 400), (other, 500))
    )
    for stage in (done, undone, foreign):
        folder = sweeps.store.path("pretrain", stage.id) / "checkpoint"
        folder.mkdir()
        (folder / "checkpoint.pt").write_bytes(b"x" * 1000)
    for stage in (undone, foreign):
        assert sweeps.store.withdraw("pretrain", stage.id)
    found = gc(sweeps, one, delete=True)
    assert counts(found)["checkpoints of finished trainings"] == 1
    there = [sweeps.store.checkpoint("pretrain", stage.id) is not None for stage in (done, undone, foreign)]
    assert there == [False, True, False]
    assert not sweeps.store.path("pretrain", foreign.id).exists()


def test_what_a_live_run_works_on_is_left_alone(sweeps: Any, grids: tuple[Path, Path]) -> None:
    one, other = grids
    foreign = next(n for n in plan_grid(other, (), sweeps.store)[1].pretrainings if " 500 " in n.label)
    leases = Leases(sweeps.store.storage)
    leases.beat()
    assert leases.take("pretrain", foreign.id)
    assert counts(gc(sweeps, one))["pretrain"] == 2
    for _ in range(2):  # with a lease and without: a driver has none while it plans, waits or logs
        with pytest.raises(InfeasibleError, match="may still be running in this store"):
            gc(sweeps, one, delete=True)
        assert sweeps.store.complete("pretrain", foreign.id) is not None
        leases.release("pretrain", foreign.id)
    leases.end()
    assert counts(gc(sweeps, one, delete=True))["pretrain"] == 3


def test_a_grid_whose_data_are_not_prepared_cannot_be_judged(sweeps: Any) -> None:
    with pytest.raises(UsageError, match="not prepared in this store: objects, scenes"):
        gc(sweeps, sweeps.write())
