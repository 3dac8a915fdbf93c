"""View policies, methods, protocols and given weights in an expansion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from expansion import CATALOG, DATASETS, cells, cells_of, impossible
from safetensors.numpy import save_file

from ssl_sweep.ssl_core.encoders.shapes import weight_shapes
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.grid.load import check_grid
from ssl_sweep.sweep.grid.marked_yaml import parse_yaml
from ssl_sweep.sweep.grid.overrides import apply_overrides
from ssl_sweep.sweep.planning.columns import COLUMNS
from ssl_sweep.sweep.planning.expand import expand_all

JUDGED = "{domain: b, labels: 10}"


def test_view_policies_are_an_axis():
    policies = "[simclr, crop, {base: crop, flip: 0}, {flip: 0, base: crop}]"
    pretrain = f"{{domain: a, images: 100, batch: 8, views: {policies}}}"
    found = {c.pretraining.id: c.pretraining for c in cells(pretrain, "{domain: b, labels: 10}")}
    plain = {c.pretraining.id for c in cells("{domain: a, images: 100, batch: 8}", "{domain: b, labels: 10}")}
    assert len(found) == 3 and plain < set(found)  # simclr is the default; two spellings are one policy
    names = [COLUMNS["views"].value(p) for p in found.values()]
    assert sorted(map(str, names)) == ["crop", "custom", "simclr"]


def test_wrong_view_policies_name_what_there_is():
    def said(views: str) -> str:
        text = f"{{domain: a, images: 100, batch: 8, views: {views}}}"
        source = f"name: x\ndatasets: {DATASETS}\npretrain: {text}\nevaluate: {{domain: a, labels: 9}}\n"
        grid, problems = check_grid(parse_yaml(source, file="grid.yaml", folder=Path()))
        return "\n".join(str(p) for p in [*problems, *expand_all(grid, CATALOG)[1]])

    assert "no view policy 'simcrl' (did you mean 'simclr'?)" in said("simcrl")
    assert "no field 'blurr' (did you mean 'blur'?)" in said("{base: crop, blurr: 1}")
    assert "flip is 2.0" in said("{flip: 2}")
    assert "remove the keys strength and blur" in said("crop, strength: 0.5")


def test_what_planning_knows_of_methods_is_what_they_are():
    from ssl_sweep.ssl_core.config.registry import (
        LABELLED_METHODS,
        METHODS,
        TWO_VIEWS,
        UNTRAINED,
        trained_methods,
    )
    from ssl_sweep.ssl_core.methods.build import method_class

    assert set(trained_methods()) | UNTRAINED == set(METHODS)
    classes = {name: method_class(name) for name in trained_methods()}
    assert {name for name, kind in classes.items() if kind.labelled} == LABELLED_METHODS
    assert {name for name, kind in classes.items() if kind.n_views == 2} == TWO_VIEWS


def test_methods_keep_their_own_views_and_a_mode_is_any_ones():
    pretrain = (
        "{domain: a, images: 600, batch: 8, method: [simclr, byol, supervised], view_mode: [exact, affine]}"
    )
    found = {c.pretraining.id: c.pretraining.spec.config for c in cells(pretrain, "{domain: b, labels: 10}")}
    assert len(found) == 6
    for config in found.values():
        assert (config.views.jitter > 0) == (config.method != "supervised")
    (said,) = {
        text.split(": ", 1)[1]
        for text in impossible(
            "{domain: a, images: 600, batch: 8, method: rotation, views: [[crop, colour]]}",
            "{domain: b, labels: 10}",
        )
    }
    assert "2 policies, but rotation has one view" in said


def test_supervised_pretraining_draws_among_labelled_images():
    catalog = {**CATALOG, "b": replace(CATALOG["b"], n_unlabeled=500)}
    pretrain = "{domain: b, images: all, batch: 8, method: [simclr, supervised]}"
    found = {
        c.pretraining.spec.config.method: c.pretraining
        for c in cells(pretrain, "{domain: a, labels: 10}", catalog=catalog)
    }
    assert {method: p.images for method, p in found.items()} == {"simclr": 600, "supervised": 100}
    assert [p.spec.parts[0].labelled for p in found.values()] == [False, True]
    (said,) = impossible(
        "{domain: b, images: 200, batch: 8, method: supervised}", "{domain: a, labels: 10}", catalog=catalog
    )
    assert "more than the 100 labelled training images of 'b'" in said


def test_fine_tuning_is_a_stage_of_its_own_and_has_its_schedule():
    evaluate = "{domain: b, labels: [10, all], protocol: [linear, fine-tune], finetune_steps: [5, 9]}"
    found = cells("{domain: a, images: 100, batch: 8}", evaluate)
    assert sorted((c.stage, str(COLUMNS["finetune_steps"].value(c))) for c in found) == sorted(
        [("probe", "None"), ("finetune", "5"), ("finetune", "9")] * 2
    )
    assert len({c.probe_id for c in found}) == 6


def test_settings_that_a_method_has_not_make_no_second_training():
    pretrain = (
        "{domain: a, images: 600, batch: 8, method: [simclr, rotation], temperature: [0.1, 0.2],"
        " lars_form: [official, you2017]}"
    )
    found = {c.pretraining.id: c.pretraining.spec.config for c in cells(pretrain, "{domain: b, labels: 10}")}
    by_method = [config.method for config in found.values()]
    assert (by_method.count("simclr"), by_method.count("rotation")) == (4, 1)  # rotation takes SGD
    same = "{domain: a, images: 600, batch: 8, views: [simclr, [simclr, simclr]]}"
    assert len({c.pretraining.id for c in cells(same, "{domain: b, labels: 10}")}) == 1
    alone = "{domain: a, images: 600, batch: 8, method: rotation, queue: 16}"
    text = f"name: x\ndatasets: {DATASETS}\npretrain: {alone}\nevaluate: {{domain: a, labels: 9}}\n"
    _, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=Path()))
    assert "queue: not used by rotation, only by moco-v2" in str(problems[0])


def test_steps_and_epochs_are_both_columns():
    found = {
        c.pretraining.id: c.pretraining
        for c in cells(
            "{domain: a, images: 80, batch: 8, epochs: 3, steps: [0, 25]}", "{domain: b, labels: 10}"
        )
    }
    shown = {(COLUMNS["steps"].value(p), COLUMNS["epochs"].value(p)) for p in found.values()}
    assert shown == {(30, 3), (25, 3)}  # 25 steps of 8 images begin a third epoch of 80


def test_given_weights_are_refused_where_they_are_no_file(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    for weights, said in {
        "gone.pt": "no file",
        "folder.pt": "no file",
        "gone.pth.tar": "no file",
        "model.h5": "is neither a file (.pt",
        "resnet50": "nor a name of torchvision",
    }.items():
        text = (
            f"name: x\ndatasets: {DATASETS}\npretrain: {{method: weights, weights: {weights}}}\n"
            "evaluate: {domain: a, labels: 9}\n"
        )
        grid, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=tmp_path))
        assert problems == []
        (problem, *_) = expand_all(grid, CATALOG)[1]
        assert said in str(problem), problem


def said_of(pretrain: str, evaluate: str = "{domain: a, labels: 9}") -> list[str]:
    text = f"name: x\ndatasets: {DATASETS}\npretrain: {pretrain}\nevaluate: {evaluate}\n"
    return [str(p) for p in check_grid(parse_yaml(text, file="grid.yaml", folder=Path()))[1]]


def test_settings_that_no_method_of_a_block_looks_at_are_refused():
    both = "{method: [simclr, random], domain: a, images: 600, batch: 8, temperature: [0.1, 0.5]}"
    found = cells(both, "{domain: b, labels: 10}")
    assert len({c.pretraining.id for c in found}) == 2 + 3  # the random ones have no temperature
    for key, value in {"steps": 5, "temperature": 0.1, "views": "crop", "optimizer": "sgd"}.items():
        (said,) = said_of(f"{{method: random, {key}: {value}}}")
        assert said.startswith("grid.yaml:3:28: ") and f"{key}: not used by a random encoder" in said
    (said,) = said_of("{method: weights, weights: x.pt, seed: [0, 1]}")
    assert "seed: not used by an encoder with given weights" in said
    assert said_of("{method: [random, weights], weights: x.pt, seed: [0, 1]}") == []
    (said,) = said_of("{domain: a, images: 600, batch: 8, weights: x.pt}")
    assert "weights: not used by simclr" in said
    (said,) = said_of("{method: random}", "{domain: a, labels: 9, finetune_epochs: 3}")
    assert said.startswith("grid.yaml:4:34: ") and "only used by protocol fine-tune" in said


def test_an_override_passes_over_encoders_that_nobody_trains():
    text = f"name: x\ndatasets: {DATASETS}\nevaluate: {{domain: a, labels: 9}}\n"
    text += "pretrain: [{domain: a, images: 80, batch: 8}, {method: random}]\n"
    changed, problems = apply_overrides(
        parse_yaml(text, file="grid.yaml", folder=Path()), ["pretrain.temperature=0.1"]
    )
    assert problems == [] and check_grid(changed)[1] == []


def test_a_queue_is_never_longer_than_the_images():
    """The preset's gives way, so that the identity says what is trained; a given one is an error."""
    pretrain = "{domain: a, images: [300, 600], batch: 60, method: moco-v2, encoder: resnet18%s}"
    queues = {c.pretraining.images: c.pretraining.spec.config.queue for c in cells(pretrain % "", JUDGED)}
    assert queues == {300: 0, 600: 0}
    given = {c.pretraining.spec.config.queue for c in cells(pretrain % ", queue: 300", JUDGED)}
    assert given == {300}
    (said,) = impossible(pretrain % ", queue: 360", JUDGED)
    assert "queue 360 is larger than 300 images; set queue to 300 or less" in said


def test_fine_tuning_schedules():
    """Constant steps, given epochs, or the published ones, which depend on the share of the labels."""

    def schedules(evaluate: str, pretrain: str = "{domain: a, images: 80, batch: 8}") -> dict[str, set]:
        found: dict[str, set] = {}
        for c in cells(pretrain, f"{{domain: a, protocol: fine-tune, {evaluate}}}"):
            steps, epochs = (COLUMNS[f"finetune_{name}"].value(c) for name in ("steps", "epochs"))
            found.setdefault(c.labels.text, set()).add((steps, epochs))
        return found

    assert schedules("labels: [10, 640]") == {"10": {(300, None)}, "640": {(300, None)}}
    assert schedules("labels: [10, 11, all], finetune_schedule: reference") == {
        "10": {(None, 60)},
        "11": {(None, 30)},
        "all": {(None, 30)},
    }
    scratch = schedules("labels: [10, all], finetune_schedule: reference", "{method: random, seed: 0}")
    assert scratch == {"10": {(None, 90)}, "all": {(None, 90)}}
    both = schedules("labels: 10, finetune_schedule: [constant-steps, reference], finetune_steps: 7")
    assert both == {"10": {(300, None), (None, 60), (7, None)}}
    assert schedules("labels: 10, finetune_epochs: 5") == {"10": {(None, 5)}}


def test_the_identity_of_given_weights_stands_for_their_file(tmp_path):
    """So that a finished encoder is found without it; a missing file says so."""
    tensors = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes("resnet-demo", 32).items()}
    save_file(tensors, tmp_path / "x.safetensors")

    def encoders(weights: str) -> set[str]:
        text = (
            f"name: x\ndatasets: {DATASETS}\npretrain: {{method: weights, weights: '{weights}'}}\n"
            "evaluate: {domain: a, labels: 9}\n"
        )
        found = cells_of(parse_yaml(text, file="grid.yaml", folder=tmp_path))
        shown = {str(COLUMNS["weights"].value(c.pretraining)) for c in found}
        assert len(shown) == 1
        identity.update(shown)
        return {c.pretraining.id for c in found}

    identity: set[str] = set()
    given = encoders("x.safetensors")
    (name,) = identity
    (tmp_path / "x.safetensors").rename(tmp_path / "y.safetensors")
    assert encoders(name) == given == encoders("y.safetensors")
    with pytest.raises(GridError, match=r"give its current path.*column weights"):
        encoders("x.safetensors")


def test_heads_have_names():
    names = {
        c.pretraining.spec.config.head_layers
        for c in cells(
            "{domain: a, images: 100, batch: 8, head_layers: [none, linear, mlp2, mlp3, 2]}",
            "{domain: a, labels: 9}",
        )
    }
    assert names == {0, 1, 2, 3}


def test_the_width_of_a_head_that_is_not_there_makes_no_second_training():
    blocks = "{domain: a, images: 100, batch: 8, head_layers: [none, mlp2], head_dim: [32, 64]}"
    assert len({c.pretraining.id for c in cells(blocks, "{domain: a, labels: 9}")}) == 1 + 2
