"""View policies, methods, protocols and given weights in an expansion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from expansion import CATALOG, DATASETS, cells, impossible

from sweep.cells import EVALUATE_COLUMNS, PRETRAIN_COLUMNS, SETTING_COLUMNS
from sweep.expand import expand_all
from sweep.grid import check_grid
from sweep.specs import UNTRAINED
from sweep.yaml_source import parse_yaml


def test_view_policies_are_an_axis():
    policies = "[simclr, crop, {base: crop, flip: 0}, {flip: 0, base: crop}]"
    pretrain = f"{{domain: a, images: 100, batch: 8, views: {policies}}}"
    found = {c.pretraining.id: c.pretraining for c in cells(pretrain, "{domain: b, labels: 10}")}
    plain = {c.pretraining.id for c in cells("{domain: a, images: 100, batch: 8}", "{domain: b, labels: 10}")}
    assert len(found) == 3 and plain < set(found)  # simclr is the default; two spellings are one policy
    names = [SETTING_COLUMNS["views"](p) for p in found.values()]
    assert sorted(map(str, names)) == ["crop", "custom", "simclr"]


def test_wrong_view_policies_name_what_there_is():
    def said(views: str) -> str:
        text = f"{{domain: a, images: 100, batch: 8, views: {views}}}"
        source = f"name: x\ndatasets: {DATASETS}\npretrain: {text}\nevaluate: {{domain: a, labels: 9}}\n"
        grid, problems = check_grid(parse_yaml(source, file="grid.yaml", folder=Path()))
        return "\n".join(str(p) for p in [*problems, *expand_all(grid, CATALOG)[1]])

    assert "no view policy 'simcrl', did you mean 'simclr'" in said("simcrl")
    assert "no field 'blurr', did you mean 'blur'" in said("{base: crop, blurr: 1}")
    assert "flip is 2.0" in said("{flip: 2}")
    assert "leave the keys strength and blur out" in said("crop, strength: 0.5")


def test_what_planning_knows_of_methods_is_what_they_are():
    from ssl_core.config import LABELLED_METHODS, METHODS, TWO_VIEWS
    from ssl_core.methods import method_class, trained_methods

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
    assert "2 policies, and rotation has fewer views" in said


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
    assert sorted((c.stage, str(EVALUATE_COLUMNS["finetune_steps"](c))) for c in found) == sorted(
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
    assert "queue: rotation has none; it is of moco-v2" in str(problems[0])


def test_steps_and_epochs_are_both_columns():
    found = {
        c.pretraining.id: c.pretraining
        for c in cells(
            "{domain: a, images: 80, batch: 8, epochs: 3, steps: [0, 25]}", "{domain: b, labels: 10}"
        )
    }
    shown = {(SETTING_COLUMNS["steps"](p), PRETRAIN_COLUMNS["epochs"](p)) for p in found.values()}
    assert shown == {(30, 3), (25, 3)}  # 25 steps of 8 images begin a third epoch of 80


def test_given_weights_are_refused_where_they_are_no_file(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    for weights, said in {
        "gone.pt": "no file",
        "folder.pt": "no file",
        "model.pth.tar": "is no file (.pt",
        "resnet50": "no name of torchvision",
    }.items():
        text = (
            f"name: x\ndatasets: {DATASETS}\npretrain: {{method: weights, weights: {weights}}}\n"
            "evaluate: {domain: a, labels: 9}\n"
        )
        grid, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=tmp_path))
        assert problems == []
        (problem, *_) = expand_all(grid, CATALOG)[1]
        assert said in str(problem), problem
