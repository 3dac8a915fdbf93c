"""Every method, given weights and both protocols through `ssl-sweep run`."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from bench import Bench
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.exhaustive

GRID = """
name: methods
datasets:
  objects: {source: synthetic, domain: objects, train: 128, test: 60}
pretrain:
  - method: [simclr, moco-v2, byol, rotation, jigsaw, inpainting, supervised]
    domain: objects
    images: 64
    epochs: 1
    batch: 32
  - {method: simclr, domain: objects, images: 64, batch: 32, epochs: 1, steps: 3}
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: [40, all]}
  - domain: objects
    labels: [40, all]
    protocol: fine-tune
    finetune_steps: 4
    match: {method: [simclr, random], epochs: [1, ""]}
  - domain: objects
    labels: all
    protocol: [linear, knn]
    knn_k: 5
    representation: [h, "g(h)", blocks.2]
    train_level: each
    match: {method: [simclr, byol]}
  - {domain: objects, labels: all, fuse: [{method: rotation}, {method: byol}]}
"""
LEVELS = ("object", "shape", "outline")
METHODS = {"simclr", "moco-v2", "byol", "rotation", "jigsaw", "inpainting", "supervised", "random"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("methods"))
    bench.write(GRID)
    bench.run()
    return bench


def rows(bench: Bench, **wanted: str) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(bench.results()))
    return [row for row in table if all(row[key] == value for key, value in wanted.items())]


def test_every_method_is_trained_and_judged(bench: Bench) -> None:
    linear = rows(bench, protocol="linear", level_index="0", representation="h", fused_with="")
    assert {row["status"] for row in linear} == {"complete"}
    assert {row["method"] for row in linear} == METHODS
    folder = bench.folder / bench.store / "pretrain"
    weights = {(folder / row["pretrain_id"] / "encoder.safetensors").read_bytes() for row in linear}
    assert len(weights) == 9


def features(bench: Bench, probe_id: str) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, Any]]:
    store = bench.folder / bench.store
    manifest = json.loads((store / "probe" / probe_id / "manifest.json").read_text())
    spec = manifest["spec"]
    arrays = [
        [np.load(store / "features" / id / "x.npy") for id in spec[split]]
        for split in ("train_features", "test_features")
    ]
    return arrays[0], arrays[1], manifest


def test_joined_features_and_every_output_are_judged_as_plain_scikit_learn_does(bench: Bench) -> None:
    store = bench.folder / bench.store
    (prepare,) = (store / "prepare").iterdir()
    y_train, y_test = (np.load(prepare / "data" / f"{split}_labels.npy") for split in ("train", "test"))
    checked = set()
    for path in (store / "probe").iterdir():
        train, test, manifest = features(bench, path.name)
        spec = manifest["spec"]
        if spec["config"]["kind"] != "ProbeConfig" or spec["n_labels"] != len(y_train):
            continue
        level = LEVELS.index(spec["level"] or LEVELS[0])
        plain = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=manifest["outputs"]["C"], tol=spec["config"]["tol"], max_iter=1000),
        )
        plain.fit(np.hstack(train).astype(np.float64), y_train[:, level])
        right = plain.predict(np.hstack(test).astype(np.float64)) == y_test[:, level]
        assert manifest["outputs"]["levels"][LEVELS[level]]["top1"] == pytest.approx(right.mean())
        checked.add((len(train), train[0].shape[1], level))
    # h, g(h), a block's output and two encoders' joined, each level learnt
    widths = {(encoders, width) for encoders, width, _ in checked}
    assert widths == {(1, 128), (1, 64), (2, 128)} and {level for _, _, level in checked} == {0, 1, 2}


def test_a_coarser_level_has_rows_for_itself_and_above(bench: Bench) -> None:
    coarse = rows(bench, train_level=LEVELS[1])
    assert {row["level"] for row in coarse} == set(LEVELS[1:])
    assert {row["protocol"] for row in coarse} == {"linear", "knn"}
    assert {row["representation"] for row in coarse} == {"h", "g(h)", "blocks.2"}
    assert {row["knn_k"] for row in coarse if row["protocol"] == "knn"} == {"5"}
    assert {row["top1"] for row in coarse} != {""}


def test_fine_tuning_and_training_from_scratch_share_the_recipe(bench: Bench) -> None:
    tuned = rows(bench, protocol="fine-tune", level_index="0")
    assert {(row["method"], row["labels"]) for row in tuned} == {
        (method, labels) for method in ("simclr", "random") for labels in ("40", "all")
    }
    assert {row["status"] for row in tuned} == {"complete"}
    assert {row["finetune_steps"] for row in tuned} == {"4"}
    manifests = [
        json.loads(path.read_text())
        for path in (bench.folder / bench.store / "finetune").glob("*/manifest.json")
    ]
    assert len(manifests) == 4
    assert len({json.dumps(m["spec"]["config"], sort_keys=True) for m in manifests}) == 1
    assert {m["outputs"]["steps"] for m in manifests} == {4}
    assert set(bench.executions().values()) == {1}


def test_constant_steps_are_an_axis(bench: Bench) -> None:
    (by_steps,) = {row["pretrain_id"] for row in rows(bench, steps="3")}
    manifest = bench.folder / bench.store / "pretrain" / by_steps / "manifest.json"
    assert json.loads(manifest.read_text())["outputs"]["steps"] == 3


def test_given_weights_are_known_by_their_content(bench: Bench) -> None:
    """The export of a pretraining, taken as given weights, gives that pretraining's numbers."""
    (row,) = rows(bench, method="moco-v2", labels="all", level_index="0")
    exported = bench.folder / bench.store / "pretrain" / row["pretrain_id"] / "encoder.safetensors"
    for name in ("one.safetensors", "other.safetensors"):
        (bench.folder / name).write_bytes(exported.read_bytes())
    grid = """
    name: given
    datasets: {objects: {source: synthetic, domain: objects, train: 128, test: 60}}
    pretrain: {method: weights, weights: [one.safetensors, other.safetensors]}
    evaluate: {domain: objects, labels: all}
    """
    bench.write(grid, "given.yaml")
    bench.run(grid="given.yaml")
    table = list(csv.DictReader(io.StringIO(bench.results(grid="given.yaml"))))
    assert len({r["pretrain_id"] for r in table}) == 1  # two files, one content
    assert {r["top1"] for r in table if r["level_index"] == "0"} == {row["top1"]}
    missing = bench.call("plan", "given.yaml", "pretrain.weights=gone.pt", "--store", bench.store, expect=2)
    assert "weights: no file" in missing.stderr and "gone.pt" in missing.stderr


def test_unlabelled_images_are_pretrained_on_and_supervision_takes_labelled_ones(tmp_path) -> None:
    """The usual case: thousands of images, a few hundred labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    labels = np.where(np.arange(60) % 3 == 0, np.arange(60) % 2, -1)
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "test.npz", images=images[:10] // 2, labels=np.arange(10) % 2)
    bench = Bench(tmp_path)
    bench.write(
        "name: few\ndatasets: {mine: {source: npz, train: train.npz, test: test.npz, size: 16}}\n"
        "pretrain: {method: [supervised, simclr], domain: mine, images: all, epochs: 1, batch: 8}\n"
        "evaluate: {domain: mine, labels: all}\n"
    )
    bench.run()
    table = list(csv.DictReader(io.StringIO(bench.results())))
    assert {(row["method"], row["images"]) for row in table} == {("supervised", "20"), ("simclr", "60")}
    assert {row["n_labels"] for row in table} == {"20"}
    assert {row["status"] for row in table} == {"complete"}
