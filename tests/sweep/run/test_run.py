"""A whole `run` whose grid or images change under it, on plain processes with made-up stages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import wait_for
from fake_stages import FakeWork
from light_run import NoMirror
from PIL import Image
from process_workplace import ProcessWorkplace

from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.execution.scheduler import Progress
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.run import run as run_module
from ssl_sweep.sweep.run.progress import LineListener
from ssl_sweep.sweep.stages.perform import perform_light

GRID = """\
name: pets
datasets:
  pets: {source: folder, train: pets/train, test: pets/test}
pretrain:
  - {method: random, seed: 0}
evaluate:
  - {domain: pets, labels: 4}
"""

MANY = "{source: synthetic, domain: objects, train: 30000, test: 10}"


class Meanwhile(LineListener):
    """Calls `event` whenever a stage of this kind begins."""

    def __init__(self, stage: str, event: Callable[[], object]) -> None:
        super().__init__()
        self._stage, self._event = stage, event

    def changed(self, stage: PlannedStage, status: str, message: str) -> None:
        if (stage.kind, status) == (self._stage, "running"):
            self._event()


@pytest.fixture
def pets(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The training images of one class."""
    monkeypatch.setattr(run_module, "Mirror", NoMirror)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder: Path = sweeps.folder / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (40, 40), (i, len(split), len(name))).save(folder / f"{i}.png")
    return Path(sweeps.folder / "pets" / "train" / "cat")


def ran(sweeps: Any, stage: str, event: Callable[[], object]) -> run_module.RunResult:
    return run_module.run(
        sweeps.write(GRID),
        (),
        store_uri=str(sweeps.store.root),
        tracking_uri=None,
        address=None,
        listener=Meanwhile(stage, event),
        workplace=ProcessWorkplace(FakeWork(), workers=1),
    )


def test_the_cells_that_were_asked_are_done_whatever_becomes_of_the_grid_file(
    sweeps: Any, pets: Path
) -> None:
    grid = sweeps.folder / "grid.yaml"
    result = ran(sweeps, "prepare", lambda: grid.write_text("name: another\npretrain: [{}]"))
    assert result.exit_code == 0
    assert result.table.column("status").to_pylist() == ["complete"] * result.table.num_rows


def test_images_that_change_while_they_are_read_are_read_again(sweeps: Any, pets: Path) -> None:
    more = Image.new("RGB", (40, 40), (9, 9, 9))
    once = iter(["new.png"])
    result = ran(sweeps, "prepare", lambda: [more.save(pets / name) for name in once])
    assert result.exit_code == 0 and not result.plan.to_run
    (manifest,) = sweeps.store.manifests("prepare")  # the first is withdrawn: its name is of other files
    assert manifest.outputs["n_train"] == 9
    assert len([stage for stage, _ in sweeps.store.executed() if stage == "prepare"]) == 2


def test_images_that_never_stand_still_fail_the_run(sweeps: Any, pets: Path) -> None:
    number = iter(range(100))
    result = ran(
        sweeps,
        "prepare",
        lambda: Image.new("RGB", (40, 40), (9, 9, 9)).save(pets / f"new-{next(number)}.png"),
    )
    assert result.exit_code == 1
    assert {why for _, why in result.failed} == {
        "the files of its dataset changed while the run read them; run the sweep again"
    }
    assert not list(sweeps.store.manifests("prepare"))


def test_a_stop_while_images_are_decoded_is_obeyed_and_they_are_kept(sweeps: Any) -> None:
    """Not after all of them, which can be hours."""
    sweeps.store.check_writable()
    plan = sweeps.plan(GRID.replace("{source: folder, train: pets/train, test: pets/test}", MANY))
    (stage,) = plan.prepares
    runtime = Runtime(store=str(sweeps.store.root), stop_file=sweeps.folder / "stop")
    data = sweeps.store.path("prepare", stage.id) / "data"

    def notice() -> None:
        wait_for(lambda: list(data.glob(".writing-*/train.journal")), 30, "the first images")
        runtime.stop_file.touch()

    thread = threading.Thread(target=notice)
    thread.start()
    (outcome,) = perform_light([stage], runtime)
    thread.join()
    assert (outcome.status, outcome.failure) == ("interrupted", None)
    assert list(data.glob(".writing-*/train.journal")) and not (data / "dataset.json").exists()
    runtime.stop_file.unlink()
    (outcome,) = perform_light([stage], runtime)
    assert outcome.status == "complete" and not list(data.glob(".writing-*"))


def test_what_another_driver_has_done_since_is_no_failure(sweeps: Any) -> None:
    probes = [stage for stage in sweeps.prepared().stages if stage.kind == "probe"][:2]
    progress = Progress.of(probes)
    for stage in probes:
        one = progress.stages[stage.id]
        one.state, one.message = "failed", "it died here"
    sweeps.finish(probes[:1])
    failed = run_module._failures([progress], sweeps.plan(), stopped=True)
    assert [(stage.id, why) for stage, why in failed] == [(probes[1].id, "it died here")]
