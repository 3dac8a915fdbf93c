from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data_ops.sources import SyntheticSource
from sweep.catalog import DatasetInfo
from sweep.cells import EVALUATE_COLUMNS, PRETRAIN_COLUMNS, SETTING_COLUMNS, Cell
from sweep.errors import GridError
from sweep.expand import expand, expand_all
from sweep.grid import check_grid
from sweep.specs import UNTRAINED, PrepareSpec
from sweep.yaml_source import YamlSource, parse_yaml

Problems = Callable[..., list[str]]


def info(name: str, train: int, size: int = 32, test: int = 100, fingerprint: str = "") -> DatasetInfo:
    return DatasetInfo(
        name=name,
        prepare=PrepareSpec(SyntheticSource(name, size=size), size, f"signature {name}"),
        prepare_id=f"prepare-{name}",
        fingerprint=fingerprint or f"fingerprint {name}",
        n_train=train,
        n_test=test,
        levels=("class",),
    )


CATALOG = {"a": info("a", 1000), "b": info("b", 600), "c": info("c", 300)}
DATASETS = "{" + ", ".join(f"{name}: {{source: synthetic, domain: objects}}" for name in CATALOG) + "}"


def cells(
    pretrain: str, evaluate: str, rest: str = "", catalog: Mapping[str, DatasetInfo] = CATALOG
) -> tuple[Cell, ...]:
    text = f"name: x\ndatasets: {DATASETS}\npretrain: {pretrain}\nevaluate: {evaluate}\n{rest}"
    return cells_of(parse_yaml(text, file="grid.yaml", folder=Path()), catalog)


def cells_of(source: YamlSource, catalog: Mapping[str, DatasetInfo] = CATALOG) -> tuple[Cell, ...]:
    grid, problems = check_grid(source)
    if problems:
        raise GridError(problems)
    return expand(grid, catalog)


def impossible(
    pretrain: str, evaluate: str, rest: str = "", catalog: Mapping[str, DatasetInfo] = CATALOG
) -> list[str]:
    text = f"name: x\ndatasets: {DATASETS}\npretrain: {pretrain}\nevaluate: {evaluate}\n{rest}"
    grid, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=Path()))
    assert problems == []
    return [str(problem) for problem in expand_all(grid, catalog)[1]]


def parts(cell: Cell) -> list[tuple[str, int, int]]:
    return [(p.fingerprint, p.images, p.subset_seed) for p in cell.pretraining.spec.parts]


SMALL = "batch: 32"


def test_a_pool_is_shared_equally_in_any_order() -> None:
    (one,) = cells(f"{{domain: [[b, a]], images: 401, {SMALL}}}", "{domain: c, labels: 50}")
    (two,) = cells(f"{{domain: [[a, b]], images: 401, {SMALL}}}", "{domain: c, labels: 50}")
    assert one == two
    assert parts(one) == [("fingerprint a", 201, 0), ("fingerprint b", 200, 0)]
    assert (one.pretraining.domain, one.pretraining.images) == ("a+b", 401)


def test_names_do_not_decide_the_shares() -> None:
    renamed = {
        **CATALOG,
        "b": info("b", 600, fingerprint="another"),
        "a": info("a", 1000, fingerprint="other"),
    }
    (cell,) = cells(f"{{domain: [[a, b]], images: 401, {SMALL}}}", "{domain: c, labels: 50}", catalog=renamed)
    assert parts(cell) == [("another", 201, 0), ("other", 200, 0)]


def test_sizes_that_mean_the_same_are_one_pretraining_and_one_cell() -> None:
    found = cells(f"{{domain: a, images: [100, 10%, 0.1k], {SMALL}}}", "{domain: c, labels: [30, '30', 10%]}")
    assert len({cell.pretraining.id for cell in found}) == 1
    assert [cell.labels.text for cell in found] == ["30", "10%"]  # labels are rows as written …
    assert len({cell.probe_id for cell in found}) == 1  # … of one probe


def test_all_of_a_pool_is_limited_by_the_smallest_member() -> None:
    everything, tenth = cells(f"{{domain: [[a, b]], images: [all, 10%], {SMALL}}}", "{domain: c, labels: 50}")
    assert parts(everything) == [("fingerprint a", 600, 0), ("fingerprint b", 600, 0)]
    assert tenth.pretraining.images == 120


def test_seeds_fall_together_where_there_is_nothing_to_draw() -> None:
    found = cells(
        f"{{domain: a, images: [all, 100], subset_seed: [0, 1, 2], {SMALL}}}",
        "{domain: c, labels: [all, 300, 50], seed: [0, 1, 2], draw: [uniform, stratified]}",
    )
    assert sorted({(c.pretraining.images, c.pretraining.seeds[0]) for c in found}) == [
        (100, 0),
        (100, 1),
        (100, 2),
        (1000, 0),
    ]
    by_labels = {
        text: [(c.probe.seed, c.probe.draw) for c in found if c.labels.text == text]
        for text in ("all", "300", "50")
    }
    assert set(by_labels["all"]) == set(by_labels["300"]) == {(0, "uniform")}
    assert len(by_labels["all"]) == 4
    assert len(by_labels["50"]) == 4 * 6
    assert len({c.probe_id for c in found if c.labels.text != "50"}) == 4


def test_subset_seeds_of_a_member_taken_whole_fall_together() -> None:
    found = cells(
        f"{{domain: [[a, c]], images: 600, subset_seed: [0, 5], {SMALL}}}", "{domain: c, labels: 50}"
    )
    assert [parts(cell) for cell in found] == [
        [("fingerprint a", 300, 0), ("fingerprint c", 300, 0)],
        [("fingerprint a", 300, 5), ("fingerprint c", 300, 0)],
    ]
    assert [cell.pretraining.seeds for cell in found] == [(0, 0), (5, 0)]


def test_random_encoders_belong_to_the_domain_they_are_judged_in() -> None:
    found = cells("{method: random}", "{domain: [a, c], labels: 50}")
    assert len({cell.pretraining.id for cell in found}) == 6
    for cell in found:
        assert parts(cell) == [(cell.evaluation.fingerprint, cell.evaluation.n_train, 0)]
        assert (cell.pretraining.domain, cell.pretraining.images) == ("", None)
    assert [cell.pretraining.spec.config.seed for cell in found[:3]] == [0, 1, 2]
    mixed = cells(
        f"{{method: [random, simclr], domain: [a, b], images: [100, 200], {SMALL}}}",
        "{domain: c, labels: 50}",
    )
    assert len(mixed) == 4 + 3


def test_settings_are_axes_over_the_preset() -> None:
    found = cells(
        "{domain: a, images: all, batch: 64, learning_rate: [0.1, 1e-2], temperature: [0.1, 0.5],"
        " blur: true, strength: 1.0, view_mode: affine}",
        "{domain: c, labels: 50}",
    )
    configs = [cell.pretraining.spec.config for cell in found]
    assert {(c.learning_rate, c.temperature) for c in configs} == set(product((0.1, 0.01), (0.1, 0.5)))
    assert {(c.views.mode, c.views.blur, c.views.brightness) for c in configs} == {("affine", 0.5, 0.8)}


def test_match_ties_evaluations_to_pretrainings() -> None:
    trained = f"{{domain: [a, [a, b]], images: [100, 200], corruption: [none, jpeg], {SMALL}}}"
    pretrain = f"[{trained}, {{method: random, seed: 0}}]"
    evaluate = "{domain: c, labels: 50, match: %s}"
    assert len(cells(pretrain, evaluate % "{method: simclr, images: [200, 20%]}")) == 4
    assert len(cells(pretrain, evaluate % "{images: 10%}")) == 2  # of a: 100; of the pool of 1,200: none
    assert len(cells(pretrain, evaluate % "{pretrain_domain: b+a, corruption: jpeg}")) == 2
    assert len(cells(pretrain, evaluate % "{method: random}")) == 1
    (line,) = impossible(pretrain, evaluate % "{pretrain_domain: b}")
    assert line == "grid.yaml:4:42: no pretraining has pretrain_domain 'b' (one of: a, a+b)"


def test_exclude_leaves_out_what_fits_and_says_what_never_does() -> None:
    pretrain = f"{{domain: [a, b], images: [100, 50%], {SMALL}}}"
    evaluate = "{domain: [a, c], labels: [50, all], seed: [0, 1]}"
    assert len(cells(pretrain, evaluate)) == 4 * 2 * 3
    assert len(cells(pretrain, evaluate, "exclude: [{labels: all, eval_domain: a}]")) == 4 * 5
    assert len(cells(pretrain, evaluate, "exclude: [{n_labels: [300, 1000]}, {images: 500}]")) == 3 * 2 * 2
    rules = ["{method: simlcr}", "{evaldomain: a}", "{labels: all, probe_seed: 1}", "{images: 1x}", "{}"]
    lines = impossible(pretrain, evaluate, "exclude:\n" + "".join(f"  - {rule}\n" for rule in rules))
    assert sorted(lines) == [
        "grid.yaml:10:5: an empty rule; name at least one results column",
        "grid.yaml:6:5: no cell has method 'simlcr' (did you mean 'simclr'?)",
        "grid.yaml:7:6: no results column 'evaldomain' to choose by (did you mean 'eval_domain'?)",
        "grid.yaml:8:5: no cell fits all of this rule's values at once",
        "grid.yaml:9:14: images: '1x' is not a size; write 500, 50k, 1M, 10% or all",
    ]
    (line,) = impossible(pretrain, evaluate, "exclude: [{eval_domain: [a, c]}]")
    assert line == "grid.yaml:5:10: the rules leave no cell"


def test_what_datasets_cannot_give() -> None:
    lines = impossible(
        "[{domain: [a, [a, c]], images: [700, 2000], batch: 700}, {domain: c, images: 0.1%, batch: 2}]",
        "[{domain: a, labels: [1001, 0.01%]}]",
    )
    assert sorted(lines) == [
        "grid.yaml:3:43: images: 700 takes 350 of 'c', which has 300 training images",
        "grid.yaml:3:48: images: 2000 is more than the 1000 training images of 'a'",
        "grid.yaml:3:48: images: 2000 takes 1000 of 'c', which has 300 training images",
        "grid.yaml:3:88: images: 0.1% of c is 0; each needs at least 1",
        "grid.yaml:4:33: labels: 1001 is 1001 images; 'a' has 1000 training images",
        "grid.yaml:4:39: labels: 0.01% is 0 images; 'a' has 1000 training images",
    ]
    catalog = {**CATALOG, "b": info("b", 600, size=64), "c": info("c", 300, test=0)}
    lines = impossible(
        f"[{{domain: a, images: all, {SMALL}}}, {{domain: [[a, b]], images: 100, {SMALL}}}]",
        "{domain: [b, c], labels: 50}",
        "",
        catalog,
    )
    assert sorted(lines) == [
        "grid.yaml:3:59: a pool needs images of one size; these are (a 32, b 64) pixels",
        "grid.yaml:4:20: 'b' has images of 64 pixels, the encoders of 'a' are trained at 32; give both"
        " datasets one size, or keep them apart with match or exclude",
        "grid.yaml:4:24: 'c' has no test images; give its dataset a test or test_fraction",
    ]
    twice = {**CATALOG, "b": info("b", 1000, fingerprint="fingerprint a")}
    (line,) = impossible(f"{{domain: [[a, b]], images: 100, {SMALL}}}", "{domain: c, labels: 50}", "", twice)
    assert "the pool a+b holds the same images twice" in line


def test_the_default_batch_is_named_when_it_is_too_large() -> None:
    (line,) = impossible("{domain: c, images: 10}", "{domain: c, labels: 50}")
    assert line.startswith("grid.yaml:3:31: the default batch ")
    assert line.endswith("is larger than 10 images; set batch to 10 or less")


axis = st.lists(st.sampled_from([10, 20, 40]), min_size=1, max_size=3)
seeds = st.lists(st.integers(0, 3), min_size=1, max_size=3)
pretrain_block = st.fixed_dictionaries(
    {
        "domain": st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3),
        "images": axis,
        "seed": seeds,
        "corruption": st.lists(st.sampled_from(["none", "downsample-2x"]), min_size=1, max_size=2),
        "batch": st.just([8]),
    }
)
evaluate_block = st.fixed_dictionaries(
    {
        "domain": st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3),
        "labels": axis,
        "seed": seeds,
    }
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(pretrain_block, min_size=1, max_size=3),
    st.lists(evaluate_block, min_size=1, max_size=3),
    st.randoms(),
)
def test_no_cell_is_lost_or_doubled(pretrain: list[Any], evaluate: list[Any], random: Any) -> None:
    expected = {
        (p["domain"], p["images"], p["corruption"], p["seed"], e["domain"], e["labels"], e["seed"])
        for p in (
            dict(zip(block, values, strict=True)) for block in pretrain for values in product(*block.values())
        )
        for e in (
            dict(zip(block, values, strict=True)) for block in evaluate for values in product(*block.values())
        )
    }

    def expanded() -> tuple[Cell, ...]:
        datasets = {name: {"source": "synthetic", "domain": "objects"} for name in CATALOG}
        data = {"name": "x", "datasets": datasets, "pretrain": pretrain, "evaluate": evaluate}
        return cells_of(YamlSource("grid.yaml", Path(), data, {}))

    found = expanded()
    assert sorted(
        (
            c.pretraining.domain,
            c.pretraining.images,
            c.pretraining.spec.corruption,
            c.pretraining.spec.config.seed,
            c.evaluation.name,
            c.probe.n_labels,
            c.probe.seed,
        )
        for c in found
    ) == sorted(expected)
    assert len({c.id for c in found}) == len(found)
    for block in (*pretrain, *evaluate):
        random.shuffle(block["domain"])
    random.shuffle(pretrain)
    assert {c.id for c in expanded()} == {c.id for c in found}


def test_pools_of_given_shares_and_sizes():
    pretrain = "{domain: [{a: 75%, b: 25%}], images: [400, all], batch: 8}"
    by_size = {c.pretraining.images: c.pretraining for c in cells(pretrain, "{domain: a, labels: 10}")}
    assert set(by_size) == {400, 1333}  # a has 1,000 images: at 75% no more than 1,333 in all
    parts = {d.name: p.images for p, d in zip(by_size[400].spec.parts, by_size[400].datasets, strict=True)}
    assert parts == {"a": 300, "b": 100}
    assert (by_size[400].domain, by_size[400].shares) == ("a+b", "75%+25%")

    (sized,) = {
        c.pretraining for c in cells("{domain: {a: 250, b: 50}, batch: 8}", "{domain: a, labels: 10}")
    }
    assert sized.images == 300 and sorted(p.images for p in sized.spec.parts) == [50, 250]


def test_a_pool_of_equal_shares_is_the_same_however_it_is_written():
    written = (
        "{domain: [[a, b]], images: 400, batch: 8}",
        "{domain: {a: 50%, b: 50%}, images: 400, batch: 8}",
    )
    sizes = "{domain: {a: 200, b: 200}, batch: 8}"
    ids = [{c.pretraining.id for c in cells(p, "{domain: a, labels: 10}")} for p in (*written, sizes)]
    assert ids[0] == ids[1] == ids[2]


def test_the_in_domain_set_at_the_contained_share_is_one_line():
    """250k + 250k against 250k in domain: the pool holds that very subset."""
    found = {}
    for line in ("{domain: a, images: 250, batch: 8}", "{domain: {a: 250, b: 250}, batch: 8}"):
        for cell in cells(line, "{domain: a, labels: 10}"):
            found[cell.pretraining.domain] = cell.pretraining
    (own,) = found["a"].spec.parts
    assert own in found["a+b"].spec.parts


def test_impossible_pools():
    def said(domain: str, images: str = "") -> str:
        text = f"{{domain: {domain}, {images}batch: 8}}"
        grid, problems = check_grid(
            parse_yaml(
                f"name: x\ndatasets: {DATASETS}\npretrain: {text}\nevaluate: {{domain: a, labels: 9}}\n",
                file="grid.yaml",
                folder=Path(),
            )
        )
        return "\n".join(str(p) for p in [*problems, *expand_all(grid, CATALOG)[1]])

    assert "add up to 100%" in said("{a: 50%, b: 40%}", "images: 100, ")
    assert "all sizes (250k) or all shares" in said("{a: 50%, b: 40}", "images: 100, ")
    assert "leave it out" in said("{a: 100, b: 40}", "images: 100, ")
    assert "takes 700 of 'b', which has 600" in said("{a: 100, b: 700}")
    assert "needs the key 'images'" in said("{a: 50%, b: 50%}")


def test_new_axes_leave_the_ids_of_old_cells_alone():
    old = {c.id for c in cells("{domain: a, images: 100, batch: 8}", "{domain: b, labels: 10}")}
    new = {
        c.id
        for c in cells(
            "{domain: a, images: 100, batch: 8, draw: [uniform, stratified], imbalance: [1, 10]}",
            "{domain: b, labels: 10, corruption: [none, jpeg], imbalance: [1, 5]}",
        )
    }
    assert old < new and len(new) == 3 * 2 * 2  # a long tail has no other draw


def test_corrupted_test_images_have_features_of_their_own_and_clean_training_features():
    evaluate = "{domain: b, labels: 10, corruption: [none, jpeg]}"
    found = {c.corruption: c for c in cells("{domain: a, images: 100, batch: 8}", evaluate)}
    clean, noisy = found["none"].probe, found["jpeg-10"].probe
    assert clean.train_features == noisy.train_features
    assert clean.test_features != noisy.test_features


def test_budgets_are_drawn_from_labelled_images():
    catalog = {**CATALOG, "b": replace(CATALOG["b"], n_unlabeled=500)}
    (cell,) = cells("{domain: b, images: all, batch: 8}", "{domain: b, labels: all}", catalog=catalog)
    assert (cell.pretraining.images, cell.probe.n_labels) == (600, 100)
    (said,) = impossible("{domain: b, images: all, batch: 8}", "{domain: b, labels: 101}", catalog=catalog)
    assert "'b' has 100 labelled training images" in said


def test_leaked_images_are_not_there_to_pretrain_on():
    catalog = {**CATALOG, "b": replace(CATALOG["b"], n_leaked=50, avoid=("fingerprint a",))}
    (cell,) = cells("{domain: b, images: all, batch: 8}", "{domain: a, labels: 10}", catalog=catalog)
    (part,) = cell.pretraining.spec.parts
    assert (part.images, part.subset_seed, part.avoid) == (550, 0, ("fingerprint a",))
    (said,) = impossible("{domain: b, images: 600, batch: 8}", "{domain: a, labels: 10}", catalog=catalog)
    assert "550 training images that are no test images of 'b'" in said


def test_a_tail_longer_than_the_classes_allow_is_refused():
    catalog = {**CATALOG, "b": replace(CATALOG["b"], class_counts=(100,) * 6)}
    assert (
        "has room for"
        in impossible(
            "{domain: b, images: 500, batch: 8, imbalance: 50}", "{domain: a, labels: 10}", catalog=catalog
        )[0]
    )
    assert cells(
        "{domain: b, images: 150, batch: 8, imbalance: 50}", "{domain: a, labels: 10}", catalog=catalog
    )


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
