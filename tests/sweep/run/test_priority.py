"""Which trainings go first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.cost.predict import Experience, predict
from ssl_sweep.sweep.errors import UsageError
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.run.priority import Priority, order, require_cells

PLACE = Machine(cpus=2, gpus=0, device="cpu", hardware="a processor")

GRID = """\
name: order
datasets:
  a: {source: synthetic, domain: objects, train: 1000, test: 100}
  b: {source: synthetic, domain: scenes, train: 1000, test: 100}
pretrain:
  - {domain: a, images: 800, epochs: 2, batch: 64}
  - {domain: b, images: [200, 800], epochs: 2, batch: 64}
  - {method: random, seed: 0}
evaluate:
  - {domain: [a, b], labels: [50, 100], seed: 0, match: {pretrain_domain: b}}
  - {domain: a, labels: 50, seed: 0, match: {pretrain_domain: a}}
  - {domain: a, labels: 100, seed: 0, fuse: [[{pretrain_domain: a}, {pretrain_domain: b, images: 800}]]}
  - {domain: b, labels: 50, protocol: fine-tune, match: {method: random}}
"""


def ordered(sweeps: Any, plan: Plan, *priorities: str) -> list[PlannedStage]:
    chosen = [Priority.parse(text) for text in priorities]
    require_cells(chosen, plan)
    predictions = predict(plan, Experience.of(sweeps.store), PLACE, Compute())
    return order(plan.stages, plan, predictions, chosen)


def trainings(stages: Sequence[PlannedStage]) -> list[str]:
    return [" ".join(stage.label.split(" · ")[1:3]) for stage in stages if stage.trains]


@pytest.mark.smoke
def test_what_unlocks_most_cells_for_its_time_goes_first(sweeps: Any) -> None:
    plan = sweeps.prepared(GRID)
    # b of 200: 4 cells for a quarter of the time; b of 800: 4 and a half; a: one and a half.
    assert trainings(ordered(sweeps, plan)) == ["b 200", "b 800", "a 800"]


@pytest.mark.smoke
def test_the_order_stays_topological(sweeps: Any) -> None:
    seen: set[str] = set()
    for stage in ordered(sweeps, sweeps.prepared(GRID), "pretrain_domain=a"):
        assert set(stage.upstream) <= seen
        seen.add(stage.id)


@pytest.mark.smoke
def test_priorities_go_before_and_the_first_counts_most(sweeps: Any) -> None:
    plan = sweeps.prepared(GRID)
    assert trainings(ordered(sweeps, plan, "pretrain_domain=a,n_labels=50"))[0] == "a 800"
    assert trainings(ordered(sweeps, plan, "images=800,pretrain_domain=b"))[0] == "b 800"
    two = ordered(sweeps, plan, "pretrain_domain=a,n_labels=50", "images=800")
    assert trainings(two) == ["a 800", "b 800", "b 200"]
    first = next(
        stage for stage in ordered(sweeps, plan, "eval_domain=b,n_labels=100") if stage.kind == "probe"
    )
    assert "100 labels" in first.label and "→ b" in first.label


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pretrain_domain", "is not of the form axis=value"),
        ("domain=a", "results have no column 'domain' (did you mean 'eval_domain'?)"),
        ("pretrain_domain=c", "no cell has pretrain_domain 'c'"),
        ("eval_domain=a,labels=70", "no cell has labels '70'"),
        ("corruption=fog", "corruption: "),
        ("images=200,images=800", "images occurs twice"),
        ("pretrain_domain=a,eval_domain=b", "no cell matches all values of this rule"),
    ],
)
def test_a_wrong_priority_is_a_clear_message(sweeps: Any, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        ordered(sweeps, sweeps.prepared(GRID), text)
    assert str(error.value).startswith(f"--priority {text}") and said in str(error.value)
    assert error.value.exit_code == 2
