from __future__ import annotations

import dataclasses
import json

from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE, EpochRecord, LocalReporter


def record(epoch: int, loss: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        loss=loss,
        learning_rate=0.1,
        grad_norm=1.0,
        feature_std=1.0,
        images_per_s=1.0,
        seconds=1.0,
    )


def epochs(folder) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["loss"]) for line in lines]


def test_an_epoch_done_again_replaces_what_came_after_it(tmp_path):
    reporter = LocalReporter(tmp_path)
    for epoch, loss in enumerate([3.0, 2.0, 1.0]):
        reporter.log(record(epoch, loss))
    LocalReporter(tmp_path).log(record(1, 2.5))
    assert epochs(tmp_path) == [(0, 3.0), (1, 2.5)]
    first = json.loads((tmp_path / "epochs.jsonl").read_text().splitlines()[0])
    assert first == dataclasses.asdict(record(0, 3.0))


def test_the_newest_checkpoint_is_kept(tmp_path):
    reporter = LocalReporter(tmp_path / "work")
    assert reporter.latest() is None
    for step in (1, 2):
        source = tmp_path / "next"
        source.mkdir(exist_ok=True)
        (source / CHECKPOINT_FILE).write_text(str(step))
        reporter.save(source, step)
        kept = reporter.latest()
        assert kept is not None and (kept / CHECKPOINT_FILE).read_text() == str(step)
        assert [path.name for path in kept.iterdir()] == [CHECKPOINT_FILE]


def test_other_ranks_write_nothing(tmp_path):
    reporter = LocalReporter(tmp_path, rank=1)
    reporter.save(tmp_path / "not-visible-here", 3)
    assert reporter.latest() is None and list(tmp_path.iterdir()) == []


def test_a_stop_file_stops(tmp_path):
    reporter = LocalReporter(tmp_path)
    assert not reporter.stop_requested()
    (tmp_path / "stop").touch()
    assert reporter.stop_requested()
