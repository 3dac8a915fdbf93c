"""Protocols, representations, label levels and joined encoders in an expansion."""

from __future__ import annotations

from dataclasses import replace

import pytest
from expansion import CATALOG, cells, impossible

from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.columns import COLUMNS

SIMCLR = "{domain: [a, b], images: 100, batch: 8, seed: [0, 1]}"
BOTH = f"[{SIMCLR}, {{method: random, seed: 0}}]"


def column(cell: Cell, name: str) -> object:
    return COLUMNS[name].value(cell)


def test_the_blocks_that_planning_knows_are_those_of_the_encoders():
    from ssl_sweep.ssl_core.encoders.build import build_encoder

    for name in ("resnet-demo", "resnet18", "vit-s"):
        assert ENCODERS[name].layers == tuple(build_encoder(name, 32).layers)


def test_settings_of_a_protocol_make_no_copies_of_another_ones_cells():
    evaluate = "{domain: c, labels: 10, protocol: [linear, knn], knn_k: [5, 20], c_path: [default, simclr]}"
    found = cells(SIMCLR, evaluate)
    assert len(found) == 4 * (2 + 2) and len({c.id for c in found}) == len(found)
    kinds = {type(c.probe.config) for c in found}
    assert kinds == {ProbeConfig, KnnConfig}
    for cell in found:
        near = column(cell, "protocol") == "knn"
        assert (column(cell, "knn_k") is not None) == near and (column(cell, "c_path") is None) == near


def test_what_has_no_such_output_is_passed_over():
    evaluate = '{domain: c, labels: 10, representation: [h, "g(h)", blocks.1]}'
    found = cells(BOTH, evaluate)
    by = {
        r: {c.pretraining.spec.config.method for c in found if c.representation == r} for r in ("h", "g(h)")
    }
    assert by == {"h": {"simclr", "random"}, "g(h)": {"simclr"}}
    probe_ids = {(c.pretraining.id, c.probe_id) for c in found}
    assert len(probe_ids) == len(found)
    block = next(c for c in found if c.representation == "blocks.1")
    (train,) = block.features[0].values()
    assert (train.encoder, train.fingerprint) == (block.pretraining.id, "fingerprint c")
    assert (train.split, train.representation) == ("train", "blocks.1")


@pytest.mark.parametrize("name", ["g(h)", "layer3", "nonsense"])
def test_an_output_that_no_encoder_has_is_a_problem(name):
    (said,) = impossible(
        "{method: random, seed: 0}", f'{{domain: c, labels: 10, representation: [h, "{name}"]}}'
    )
    there = "h, blocks.0, blocks.1, blocks.2, blocks.3"
    assert said == f"grid.yaml:4:55: no encoder here has the output {name!r}; use one of {there}"


def test_every_level_can_be_learnt():
    catalog = {**CATALOG, "c": replace(CATALOG["c"], levels=("species", "genus", "family"))}
    each = cells(SIMCLR, "{domain: c, labels: 10, train_level: each}", catalog=catalog)
    assert {(c.train_level, c.levels) for c in each} == {
        ("species", ("species", "genus", "family")),
        ("genus", ("genus", "family")),
        ("family", ("family",)),
    }
    plain = cells(SIMCLR, "{domain: c, labels: 10}", catalog=catalog)
    named = cells(SIMCLR, "{domain: c, labels: 10, train_level: [species, finest]}", catalog=catalog)
    assert {c.id for c in plain} == {c.id for c in named} < {c.id for c in each}
    (said,) = set(impossible(SIMCLR, "{domain: c, labels: 10, train_level: genius}", catalog=catalog))
    assert said.endswith("'c' has no level 'genius' (did you mean 'genus'?)")


def test_encoders_of_one_seed_are_joined():
    evaluate = "{domain: c, labels: 10, fuse: [{pretrain_domain: a}, {pretrain_domain: b}]}"
    found = cells(SIMCLR, evaluate)
    assert [[(p.domain, p.seeds[1]) for p in c.encoders] for c in found] == [
        [("a", 0), ("b", 0)],
        [("a", 1), ("b", 1)],
    ]
    for cell in found:
        assert len(cell.probe.train_features) == len(cell.probe.test_features) == 2
        assert column(cell, "fused_domain") == "b" and column(cell, "fused_with") == cell.fused[0].label
    control = "{domain: c, labels: 10, fuse: [[{pretrain_domain: a, pretrain_seed: 0}, {pretrain_seed: 1}]]}"
    assert [[p.domain for p in c.encoders] for c in cells(SIMCLR, control)] == [["a", "a"], ["a", "b"]]


def test_sets_that_cannot_be_joined_are_problems():
    none = "{domain: c, labels: 10, fuse: [[{pretrain_domain: a}, {pretrain_domain: c}]]}"
    (said,) = impossible(SIMCLR, none)
    assert "no encoders match these rules together" in said
    (said,) = set(
        impossible(
            SIMCLR, "{domain: c, labels: 10, protocol: fine-tune, fuse: [{images: 100}, {images: 100}]}"
        )
    )
    assert "fine-tune trains one encoder" in said


@pytest.mark.parametrize(
    "fuse",
    [
        "[[{pretrain_seed: [0, 1]}, {pretrain_seed: [0, 1]}]]",
        "[[{pretrain_seed: 0}, {pretrain_seed: 1}], [{pretrain_seed: 1}, {pretrain_seed: 0}]]",
    ],
)
def test_joining_the_other_way_round_asks_nothing_new(fuse):
    one = "{domain: a, images: 100, batch: 8, seed: [0, 1]}"
    (cell,) = cells(one, f"{{domain: c, labels: 10, fuse: {fuse}}}")
    assert [p.seeds[1] for p in cell.encoders] == [0, 1]
    blocks = ", ".join(
        f"{{domain: c, labels: 10, fuse: [{{pretrain_seed: {a}}}, {{pretrain_seed: {b}}}]}}"
        for a, b in ((1, 0), (0, 1))
    )
    (cell,) = cells(one, f"[{blocks}]")
    assert [p.seeds[1] for p in cell.encoders] == [1, 0]
