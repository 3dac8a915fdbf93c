"""The leakage guard in a plan, over really prepared datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.draws import leaked
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.stages.data import training_images
from ssl_sweep.sweep.stages.label_budget import budget_rows
from ssl_sweep.sweep.stages.perform import perform_light

GRID = """\
name: leak
datasets:
  clean: {source: npz, train: clean_train.npz, test: clean_test.npz, size: 16}
  thief: {source: npz, train: thief_train.npz, test: thief_test.npz, size: 16}
pretrain:
  - {domain: [clean, thief], images: all, epochs: 1, batch: 8}
evaluate:
  - {domain: EVALUATED, labels: 10}
"""


LEFT_OUT = "; 30 of the 70 training images of 'thief' are also test images and are left out (leakage: drop)"


@pytest.fixture
def leaky(sweeps: Any) -> Any:
    """30 of `thief`'s 70 training images are test images of `clean`."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (170, 16, 16, 3), dtype=np.uint8)
    sets = {
        "clean_train": images[:60],
        "clean_test": images[60:100],
        "thief_train": np.concatenate([images[100:140], images[60:90]]),
        "thief_test": images[140:],
    }
    for name, content in sets.items():
        np.savez(sweeps.folder / f"{name}.npz", images=content, labels=np.arange(len(content)) % 3)
    return sweeps


def really_prepared(sweeps: Any, text: str) -> Plan:
    runtime = Runtime(store=str(sweeps.store.root), stop_file=sweeps.folder / "stop")
    sweeps.store.check_writable()
    for stage in sweeps.plan(text).prepares:
        (outcome,) = perform_light([stage], runtime)
        assert outcome.status == "complete", outcome.message
    plan: Plan = sweeps.plan(text)
    return plan


def pool_of(plan: Plan, name: str) -> PretrainSpec:
    (spec,) = {c.pretraining.spec for c in plan.cells if c.pretraining.domain == name}
    return spec


def test_evaluation_images_are_left_out_of_pretraining_and_it_is_said(leaky):
    plan = really_prepared(leaky, GRID.replace("EVALUATED", "[clean, thief]"))
    said = "leakage: 30 training images of thief are test images of clean: left out of pretraining"
    assert [note.text for note in plan.notes] == [said]
    (part,) = pool_of(plan, "thief").parts
    assert part.images == 40 and len(part.avoid) == 1
    assert pool_of(plan, "clean").parts[0].avoid == ()
    ids = {
        str(leaky.store.complete("prepare", n.id).outputs["fingerprint"]): n.id
        for n in plan.stages
        if n.kind == "prepare"
    }
    runtime = Runtime(store=str(leaky.store.root), stop_file=Path("stop"), datasets=ids)
    pool = training_images(pool_of(plan, "thief"), runtime, leaky.store)
    clean = PreparedDataset(leaky.store.path("prepare", ids[part.avoid[0]]) / "data")
    forbidden = {image.tobytes() for image in clean.images("test")}
    assert len(pool) == 40 and not forbidden & {image.tobytes() for image in pool[:]}


def test_a_set_that_nobody_evaluates_on_may_be_pretrained_on(leaky):
    plan = really_prepared(leaky, GRID.replace("EVALUATED", "thief"))
    assert plan.notes == ()
    assert pool_of(plan, "thief").parts[0].images == 70


def test_the_policy_can_be_to_report_only(leaky):
    plan = really_prepared(leaky, GRID.replace("EVALUATED", "clean") + "leakage: report\n")
    assert plan.notes[0].text.endswith("kept in pretraining (leakage: report)")
    assert pool_of(plan, "thief").parts[0].images == 70


def test_more_images_than_are_free_are_refused(leaky, problems):
    text = GRID.replace("EVALUATED", "clean").replace("images: all", "images: 50")
    text = text.replace("[clean, thief]", "thief")
    really_prepared(leaky, text.replace("images: 50", "images: 30"))
    (said,) = problems(text)
    assert "images: 50 is more than the 40 training images of 'thief' that are not test images" in said
    assert said.endswith(LEFT_OUT)


@pytest.mark.parametrize("batch", ["batch: 60", "method: simclr"], ids=["given", "default"])
def test_a_batch_that_the_guard_makes_too_large_is_refused_with_the_reason(leaky, problems, batch):
    text = GRID.replace("EVALUATED", "clean").replace("[clean, thief]", "thief")
    really_prepared(leaky, text)
    (said,) = problems(text.replace("batch: 8", batch))
    assert "is larger than 40 images; set batch to 40 or less" in said and said.endswith(LEFT_OUT)
    (said,) = problems(text.replace("domain: thief", "domain: clean").replace("batch: 8", "batch: 99"))
    assert "is larger than 60 images" in said and "left out" not in said


def test_no_image_of_one_is_in_the_other(leaky):
    plan = really_prepared(leaky, GRID.replace("EVALUATED", "clean"))
    data = {
        n.datasets[0]: PreparedDataset(leaky.store.path("prepare", n.id) / "data")
        for n in plan.stages
        if n.kind == "prepare"
    }
    assert leaked(data["thief"], [data["clean"]]).sum() == 30
    assert leaked(data["clean"], [data["thief"]]).sum() == 0


@pytest.mark.parametrize("policy", ["drop", "report"])
def test_labels_of_a_sets_own_test_images_are_in_no_budget(leaky, policy):
    """Their answers would be known: a nearest neighbour of the whole budget would make no mistake on them."""
    folder = leaky.folder
    with np.load(folder / "clean_test.npz") as test, np.load(folder / "clean_train.npz") as train:
        both = {name: np.concatenate([train[name], test[name][:25]]) for name in ("images", "labels")}
    np.savez(folder / "clean_train.npz", **both)
    text = GRID.replace("EVALUATED", "clean").replace(
        "labels: 10", "labels: [10, all], protocol: [linear, fine-tune]"
    )
    plan = really_prepared(leaky, f"{text}leakage: {policy}\n")
    dropped = policy == "drop"
    done = "left out of" if dropped else "kept in"
    said = f"leakage: 25 labelled training images of clean are also its test images: {done}"
    assert any(note.text.startswith(said) for note in plan.notes)
    answers = [cell.probe for cell in plan.cells]
    assert {answer.n_labels for answer in answers} == {10, 60 if dropped else 85}
    assert all(answer.without_copies == dropped for answer in answers)
    (info,) = {cell.evaluation for cell in plan.cells}
    data = PreparedDataset(leaky.store.path("prepare", info.prepare_id) / "data")
    tests = {image.tobytes() for image in data.images("test")}
    for answer in answers:
        drawn = data.images("train")[budget_rows(answer, data)]
        assert len(drawn) == answer.n_labels
        met = tests & {image.tobytes() for image in drawn}
        assert not met if dropped else (answer.n_labels == 10 or len(met) == 25)


def test_a_budget_that_only_copies_could_fill_is_refused_and_it_is_said_why(leaky):
    (leaky.folder / "clean_test.npz").write_bytes((leaky.folder / "clean_train.npz").read_bytes())
    with pytest.raises(
        GridError, match="'clean' has 0 training images, and 60 that are also its test images"
    ):
        really_prepared(leaky, GRID.replace("EVALUATED", "clean").replace("[clean, thief]", "thief"))


def test_without_copies_no_identity_changes(leaky):
    plan = really_prepared(leaky, GRID.replace("EVALUATED", "[clean, thief]"))
    assert not any(cell.probe.without_copies or cell.evaluation.copied_classes for cell in plan.cells)
