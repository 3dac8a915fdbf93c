from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from expansion import CATALOG, cells, cells_of, impossible, info
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sweep.sweep.grid.marked_yaml import YamlSource
from ssl_sweep.sweep.planning.cells import Cell

Problems = Callable[..., list[str]]


def parts(cell: Cell) -> list[tuple[str, int, int]]:
    return [(p.fingerprint, p.images, p.subset_seed) for p in cell.pretraining.spec.parts]


SMALL = "batch: 32"


@pytest.mark.smoke
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


@pytest.mark.smoke
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
        "grid.yaml:7:6: no results column 'evaldomain' that a rule can use (did you mean 'eval_domain'?)",
        "grid.yaml:8:5: no cell matches all values of this rule",
        "grid.yaml:9:14: images: '1x' is not a size; write 500, 50k, 1M, 10% or all",
    ]
    (line,) = impossible(pretrain, evaluate, "exclude: [{eval_domain: [a, c]}]")
    assert line == "grid.yaml:5:10: these rules exclude every cell; remove or narrow one"


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
        "grid.yaml:3:59: a pool needs images of one size; these are (a 32, b 64) pixels: give them the"
        " same size",
        "grid.yaml:4:20: 'b' has images of 64 pixels, but the encoders of 'a' are trained at 32; give"
        " both datasets the same size, or separate them with match or exclude",
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
