"""What a real sweep leaves, against what the plan had said of it."""

from __future__ import annotations

import json
from typing import Any

from bench import Bench

from ssl_sweep.sweep.store.store import Store


def estimate(bench: Bench, store: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bench.call("plan", "grid.yaml", "--store", store, "--json").stdout)
    return found["estimate"]  # type: ignore[no-any-return]


def test_a_store_is_no_larger_than_was_planned(finished: Bench) -> None:
    planned = estimate(finished, "never-used")["disk_bytes"]
    files = [path for path in (finished.folder / finished.store).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    assert 0.5 * planned < size < 1.1 * planned
    assert not [path for path in files if "checkpoint" in path.parts]  # a finished training keeps its encoder


def test_trainings_keep_what_was_predicted_before_they_began(finished: Bench) -> None:
    store = Store(finished.folder / finished.store)
    trained = [m for m in store.manifests("pretrain") if m.outputs.get("steps")]
    assert trained and all(m.run.predicted_s > 0 for m in trained)
    assert {m.run.predicted_from for m in trained} == {"default guess"}
    assert estimate(finished, finished.store)["trainings"]["sources"] == {}
