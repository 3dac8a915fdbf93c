"""Every claim on tables where it is true, absent, contrary and thinly seeded; and on torn ones."""

from __future__ import annotations

import numpy as np
import pytest
from claim_tables import ABOVE, ALL, BEYOND, FINE, SAME, Seeds, full, judged
from results_frame import Table

from ssl_sweep.sweep.report.claims import CLAIMS
from ssl_sweep.sweep.report.claims.wording import points
from ssl_sweep.sweep.report.findings import findings
from ssl_sweep.sweep.report.paper import paper_keys
from ssl_sweep.sweep.report.statistics import Estimate, Verdict


def _verdict(claim: str, effect: float, seeds: Seeds = (0, 1, 2, 3)) -> Verdict:
    table = Table(seed_noise=0.002, n_test=4000)
    ALL[claim](table, effect, seeds)
    found = judged(table, claim)
    assert len(found) == 1, found
    one = found[0]
    assert one.verdict in one.detail or "It holds that" in one.detail or "It does not hold" in one.detail
    assert bool(one.needs) == (one.verdict == "not enough evidence")
    return one.verdict


def test_every_claim_is_tested_here() -> None:
    assert set(ALL) == {claim.id for claim in CLAIMS}
    assert {claim.paper_key for claim in CLAIMS} - {""} == set(paper_keys())


@pytest.mark.parametrize("claim", ABOVE)
def test_a_difference_that_is_there(claim: str) -> None:
    assert _verdict(claim, 0.08) == "holds"
    contrary: Verdict = "not enough evidence" if claim in BEYOND else "does not hold"
    assert _verdict(claim, -0.08) == contrary
    assert _verdict(claim, 0.0) != "holds"


@pytest.mark.parametrize("claim", SAME)
def test_no_difference(claim: str) -> None:
    assert _verdict(claim, 0.0) == "holds"
    assert _verdict(claim, 0.08) == "does not hold"
    assert _verdict(claim, -0.08) == "does not hold"


@pytest.mark.parametrize("claim", ALL)
def test_two_seeds_are_not_enough_evidence(claim: str) -> None:
    effect = 0.08 if claim in ABOVE else 0.0
    assert _verdict(claim, effect, seeds=(0, 1)) == "not enough evidence"


def test_torn_tables_never_raise() -> None:
    frame, draw = full().frame(), np.random.default_rng(0)
    assert findings(frame.iloc[:0]) == []
    for share in (0.1, 0.5, 0.9):
        torn = frame[draw.random(len(frame)) < share].copy()
        gone = draw.random(len(torn)) < 0.3
        torn.loc[gone, "status"] = "missing"
        torn.loc[gone, ["top1", "top1_std_err", "n_test"]] = np.nan
        torn.loc[draw.random(len(torn)) < 0.2, "hits"] = None
        for one in findings(torn):
            assert one.n >= 3 or one.verdict == "not enough evidence"


def test_unfinished_cells_are_named_as_what_is_needed() -> None:
    table = Table().add(0.5, images=2000).add(0.5, images=4000, status="missing")
    (found,) = judged(table, "quantity.saturates")
    assert found.verdict == "not enough evidence" and found.estimate is None
    assert "3 cells of this comparison are not finished" in found.needs


# Like with like ---------------------------------------------------------------------------------------


def _of(table: Table, claim: str) -> list[str]:
    return [one.scope for one in judged(table, claim)]


@pytest.mark.parametrize(
    "unlike",
    [
        {"encoder": "resnet18"},
        {"temperature": 0.5},
        {"eval_corruption": "jpeg-10"},
        {"n_labels": 100},
        {"draw": "stratified"},
        {"views": "moco-v2"},
        {"label_imbalance": 10.0},
        {"representation": "layer3"},
        {"corruption": "jpeg-10"},
        {"protocol": "fine-tune"},
    ],
)
def test_what_is_unlike_is_not_compared(unlike: dict[str, object]) -> None:
    assert _of(Table().add(0.5, images=2000).add(0.5, images=4000), "quantity.saturates") == ["scenes"]
    assert _of(Table().add(0.5, images=2000).add(0.5, images=4000, **unlike), "quantity.saturates") == []


def test_sizes_are_compared_at_equal_epochs_or_at_equal_steps_but_not_at_neither() -> None:
    at_steps = Table().add(0.5, images=2000, epochs=60, steps=450).add(0.5, images=4000, epochs=30, steps=450)
    assert len(_of(at_steps, "quantity.saturates")) == 1
    neither = Table().add(0.5, images=2000, epochs=60, steps=450).add(0.5, images=4000, epochs=20, steps=300)
    assert _of(neither, "quantity.saturates") == []


def test_each_setting_is_judged_apart_and_named() -> None:
    table = Table()
    for temperature in (0.1, 0.5):
        for images in (2000, 4000):
            table.add(0.5, images=images, temperature=temperature)
    assert _of(table, "quantity.saturates") == ["scenes, temperature 0.1", "scenes, temperature 0.5"]


def test_the_largest_common_budget_decides_and_the_others_are_told() -> None:
    table = Table(seed_noise=0.001)
    for labels, gain in ((100, 0.10), (1000, 0.05)):
        table.add(0.4, images=2000, n_labels=labels).add(0.4 + gain, images=4000, n_labels=labels)
    table.add(0.4, images=4000, n_labels=4000)  # no partner
    (found,) = judged(table, "quantity.saturates")
    assert found.budget == 1000 and found.estimate is not None
    assert found.estimate.mean == pytest.approx(0.05, abs=0.01)
    assert "At other label budgets: 100 labels +10." in found.detail or "100 labels +9." in found.detail


def test_a_pool_that_lacks_the_own_domain_is_no_pool_to_beat() -> None:
    table = Table().add(0.5).add(0.4, pretrain_domain="land+objects")
    assert _of(table, "domain.pooled") == []


@pytest.mark.parametrize("claim", ["quantity.few-labels", "quantity.many-labels"])
def test_one_budget_alone_is_neither_few_labels_nor_many(claim: str) -> None:
    table = Table().add(0.5, **FINE).add(0.4, method="random", **FINE)
    assert judged(table, claim) == []


def test_a_budget_with_the_seeds_for_a_verdict_goes_before_a_larger_one_without() -> None:
    table = Table(seed_noise=0.001)
    for labels, seeds in ((1000, (0, 1, 2)), (4000, (0,))):
        table.add(0.6, n_labels=labels, seeds=seeds).add(0.4, n_labels=labels, seeds=seeds, method="random")
    (found,) = judged(table, "quantity.pays")
    assert (found.verdict, found.budget, found.n) == ("holds", 1000, 3)


def test_a_gap_that_grows_while_supervised_training_is_behind_is_no_lead() -> None:
    table = Table(seed_noise=0.002, n_test=4000).add(0.6, coarser=0.2)
    table.add(0.5, method="random", coarser=0.15, **FINE)
    (found,) = judged(table, "granularity.gap-grows")
    assert found.verdict == "does not hold" and "grows by +5." in found.brief


def test_a_pool_with_the_own_domain_is_not_another_domain() -> None:
    table = Table()
    for method in ("simclr", "supervised"):
        table.add(0.5, method=method, pretrain_domain="land+scenes")
    assert judged(table, "transfer.ahead") == []


def test_a_fusion_with_a_supervised_encoder_does_not_hide_one_in_the_other_order() -> None:
    table = Table(seed_noise=0.001, n_test=4000).add(0.5)
    for seed in (0, 1, 2):
        other = {"fused_with": f"simclr · scenes · 4000 · none · seed {seed}", "fused_domain": "scenes"}
        table.add(0.5, pretrain_domain="land", seeds=(seed,), fused_method="simclr", **other)
        other = {"fused_with": f"supervised · land · 4000 · none · seed {seed}", "fused_domain": "land"}
        table.add(0.6, seeds=(seed,), fused_method="supervised", **other)
    (found,) = judged(table, "domain.fusion")
    assert "an encoder of land" in found.brief and found.n == 3


def test_a_fusion_in_the_other_order_with_an_encoder_of_another_size_is_not_turned() -> None:
    table = Table().add(0.5)
    for seed in (0, 1, 2):
        other = {"fused_with": f"simclr · scenes · 8000 · none · seed {seed}", "fused_domain": "scenes"}
        table.add(0.6, pretrain_domain="land", seeds=(seed,), fused_method="simclr", **other)
    assert judged(table, "domain.fusion") == []


def test_an_end_of_an_interval_shows_its_side_of_nothing() -> None:
    assert points(Estimate(0.02, -0.0001, 0.0401, 3)) == "+2.0 points (95 % −0.01 … +4.0, n = 3)"


def test_a_fusion_in_the_other_order_counts() -> None:
    table = Table(seed_noise=0.001, n_test=4000).add(0.5)
    for seed in (0, 1, 2):
        other = {"fused_with": f"simclr · scenes · 4000 · none · seed {seed}", "fused_domain": "scenes"}
        table.add(0.5, pretrain_domain="land", seeds=(5 + seed,), fused_method="simclr", **other)
    (found,) = judged(table, "domain.fusion")
    assert found.verdict == "holds" and found.n == 3
