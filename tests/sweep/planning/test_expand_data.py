"""Pools, draws, leaks and corruptions in an expansion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from expansion import CATALOG, DATASETS, cells, impossible

from ssl_sweep.sweep.grid.load import check_grid
from ssl_sweep.sweep.grid.marked_yaml import parse_yaml
from ssl_sweep.sweep.planning.expand import expand_all


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
    assert "remove images" in said("{a: 100, b: 40}", "images: 100, ")
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
    assert "550 training images of 'b' that are not test images" in said


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
