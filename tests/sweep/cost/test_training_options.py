"""How trainings run: from the keys of `compute` to every process, whole."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ssl_sweep.ssl_core.config.training import TrainingOptions
from ssl_sweep.ssl_core.training.options import RuntimeOptions
from ssl_sweep.sweep.cost.feasible import require_feasible
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.grid.schema import Compute


def test_every_option_is_a_key_of_compute_with_the_same_default() -> None:
    assert {field.name for field in fields(TrainingOptions)} <= set(Compute.model_fields)
    assert Compute().training == TrainingOptions()


def test_what_is_asked_reaches_the_trainer() -> None:
    asked = Compute(backend="torch", compile=True, loss_lag=0, watch_knn=True).training
    assert asked == TrainingOptions(backend="torch", compile=True, loss_lag=0, watch_knn=True)
    assert RuntimeOptions(**vars(asked), device="cuda").loss_lag == 0


@pytest.mark.parametrize("other", [{"workers": 2}, {"activation_checkpointing": True}])
def test_a_cuda_graph_that_no_training_can_record_is_refused(sweeps: Any, other: dict[str, Any]) -> None:
    plan = sweeps.plan()
    require_feasible(plan, Compute(cuda_graph=True), "auto")
    with pytest.raises(InfeasibleError, match="cuda_graph is for one worker"):
        require_feasible(plan, Compute(cuda_graph=True, **other), "auto")
