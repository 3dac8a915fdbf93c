"""Trainings as stages, without Ray: what they leave when they are stopped, what is on an encoder's card."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE, LocalReporter
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.run.run import datasets_of
from ssl_sweep.sweep.stages.context import StageInterrupted
from ssl_sweep.sweep.stages.encoder_card import export_encoder
from ssl_sweep.sweep.stages.perform import perform_light, run_training

DATA = "name: x\ndatasets: {objects: {source: synthetic, domain: objects, train: 60, test: 30}}\n"
TUNED = f"""{DATA}
pretrain: {{method: random, seed: 0}}
evaluate: {{domain: objects, labels: 30, protocol: fine-tune, finetune_steps: 8}}
"""
TRAINED = f"""{DATA}
pretrain: {{domain: objects, images: 40, batch: 8, epochs: 1, temperature: 0.3}}
evaluate: {{domain: objects, labels: [20, 30]}}
"""


def prepared(sweeps: Any, text: str) -> tuple[Plan, Runtime]:
    sweeps.store.check_writable()
    sweeps.store.check_writable()
    bare = Runtime(store=str(sweeps.store.root), stop_file=sweeps.folder / "stop")
    perform_light(sweeps.plan(text).prepares, bare)
    plan = sweeps.plan(text)
    datasets = datasets_of(plan, sweeps.store)
    return plan, Runtime(store=bare.store, stop_file=bare.stop_file, datasets=datasets)


def stages(plan: Plan, kind: str) -> list[PlannedStage]:
    return [stage for stage in plan.stages if stage.kind == kind]


def done(stages: list[PlannedStage], runtime: Runtime) -> None:
    for stage in stages:
        (outcome,) = perform_light([stage], runtime)
        assert outcome.status == "complete", outcome.failure


def test_a_fine_tuning_goes_on_from_its_stages_checkpoint(sweeps):
    plan, runtime = prepared(sweeps, TUNED)
    done(stages(plan, "pretrain"), runtime)
    (stage,) = stages(plan, "finetune")
    folder = sweeps.store.path("finetune", stage.id)
    reporter = LocalReporter(folder)
    (folder / "stop").touch()
    with pytest.raises(StageInterrupted):
        run_training(runtime, stage, TrainPlan(), reporter)
    assert (folder / "checkpoint" / CHECKPOINT_FILE).exists()
    assert sweeps.store.complete("finetune", stage.id) is None
    (folder / "stop").unlink()
    run_training(runtime, stage, TrainPlan(), reporter)
    manifest = sweeps.store.complete("finetune", stage.id)
    assert (manifest.outputs["steps"], manifest.outputs["precision"]) == (8, "float32")
    assert not (folder / "checkpoint").exists()


def test_the_card_says_what_the_encoder_was_made_of(sweeps):
    plan, runtime = prepared(sweeps, TRAINED)
    (stage,) = stages(plan, "pretrain")
    folder = sweeps.store.path("pretrain", stage.id)
    run_training(runtime, stage, TrainPlan(), LocalReporter(folder))
    done([*stages(plan, "features"), *stages(plan, "probe")], runtime)
    (fingerprint,) = runtime.datasets
    own = json.loads((folder / "encoder.json").read_text())
    assert own["data"]["fingerprints"] == [fingerprint] and own["data"]["images"] == 40
    assert own["preset"] == {
        "name": "simclr, demo",
        "epochs": 1,
        "changed": {"batch": 8, "temperature": 0.3},
    }
    assert own["metrics"]["steps"] == 5 and own["metrics"]["loss"] > 0 and own["metrics"]["rankme"] > 1
    out = sweeps.folder / "mine.safetensors"
    export_encoder(stage.id, str(sweeps.store.root), out)
    card = json.loads(out.with_suffix(".json").read_text())
    assert {name: card[name] for name in ("data", "preset", "metrics", "pretrain_id")} == {
        name: own[name] for name in ("data", "preset", "metrics", "pretrain_id")
    }
    probes = {p["n_labels"]: p for p in card["linear_probes"]}
    assert set(probes) == {20, 30} and {p["fingerprint"] for p in probes.values()} == {fingerprint}
    for probe in probes.values():
        stored = sweeps.store.complete("probe", probe["probe_id"]).outputs["levels"]
        assert probe["top1"] == stored["object"]["top1"] and probe["level"] == "object"


def test_an_encoder_whose_card_is_from_before_gets_the_whole_one(sweeps):
    plan, runtime = prepared(sweeps, TUNED)
    (stage,) = stages(plan, "pretrain")
    done([stage], runtime)
    path = sweeps.store.path("pretrain", stage.id) / "encoder.json"
    card = json.loads(path.read_text())
    assert "preset" not in card and card["data"]["images"] == 60
    old = json.dumps({name: card[name] for name in card if name not in ("data", "pretrain_id")})
    path.write_text(old + " " * (path.stat().st_size - len(old)))
    made = path.with_name("manifest.json")  # of that time as well: it has no checksums
    made.write_text(json.dumps({k: v for k, v in json.loads(made.read_text()).items() if "sha256" not in k}))
    out = sweeps.folder / "mine.safetensors"
    export_encoder(stage.id, str(sweeps.store.root), out)
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["data"] == card["data"] and found["linear_probes"] == []


def test_an_older_training_differs_in_what_was_given_only():
    """Fields that a stored config lacks are as they were then: at their defaults."""
    from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
    from ssl_sweep.sweep.spec.identity import from_form, full_form
    from ssl_sweep.sweep.stages.encoder_card import preset_of

    config = full_form(default_config("resnet18", 32, epochs=200, batch=256, seed=3))
    for younger in ("lars_form", "grad_clip", "views2", "queue"):
        del config[younger]
    older = from_form(PretrainConfig, config)
    assert preset_of(older) == {"name": "simclr, cifar", "epochs": 200, "changed": {"batch": 256}}


def test_weights_known_by_their_identity_alone_need_a_finished_encoder(sweeps):
    text = f"{DATA}\npretrain: {{method: weights, weights: 'sha256:0123456789abcdef'}}\n"
    plan, runtime = prepared(sweeps, text + "evaluate: {domain: objects, labels: 20}\n")
    (stage,) = stages(plan, "pretrain")
    (outcome,) = perform_light([stage], runtime)
    assert outcome.status == "failed" and "give their file in the grid" in outcome.failure.message
