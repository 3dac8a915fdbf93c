"""What a cluster can ever hold, and who is refused by it."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_sweep.sweep.cost.feasible import require_feasible, require_room, require_workers
from ssl_sweep.sweep.cost.machine import machine_of
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.execution.capacity import Capacity, NodeType
from ssl_sweep.sweep.grid.schema import Compute

HEAD = NodeType("head", 16, 0, 1)
SMALL = NodeType("small", 4, 1, 8, scaled=True)
LARGE = NodeType("large", 32, 8, 2, scaled=True)


def cluster(capacity: Capacity) -> Cluster:
    return Cluster(capacity.cpus, capacity.gpus, 1, False, capacity)


@pytest.mark.smoke
def test_workers_are_counted_by_node_and_not_by_sums() -> None:
    static = Capacity.of_nodes([(3, 0), (3, 0), (2, 1)])
    assert (static.cpus, static.gpus) == (8, 1)
    assert static.workers(2, 0) == 3 and static.workers(4, 0) == 0
    assert static.workers(2, 1) == 1 and static.workers(1, 0.5) == 2


@pytest.mark.smoke
def test_the_autoscaler_adds_the_largest_first_within_its_limit() -> None:
    assert Capacity((HEAD, SMALL), 3).workers(4, 1) == 3
    both = Capacity((HEAD, SMALL, LARGE), 3)
    assert both.gpus == 17 and both.workers(4, 1) == 17 and both.workers(8, 1) == 8
    assert both.workers(4, 0) == 4 + 8 + 8 + 1
    assert str(both).endswith("3 of these at a time")


@pytest.mark.smoke
def test_refused_with_need_and_have_by_type() -> None:
    place = Capacity((HEAD, SMALL), 8)
    require_workers(Compute(cpus_per_worker=4), 8, place)
    with pytest.raises(InfeasibleError) as refused:
        require_workers(Compute(cpus_per_worker=8), 1, place)
    assert "1 workers of 8 CPUs and 1 GPUs" in str(refused.value)
    assert "small: at most 8 x (4 CPUs, 1 GPUs)" in str(refused.value) and refused.value.exit_code == 3
    require_workers(Compute(cpus_per_worker=8, device="cpu"), 1, place)  # the head has them
    with pytest.raises(InfeasibleError):
        require_workers(Compute(), 9, place)


def test_the_fewest_workers_of_trainings_must_fit(sweeps: Any) -> None:
    nodes, place = sweeps.prepared().to_run, cluster(Capacity((HEAD, SMALL), 8))
    with pytest.raises(InfeasibleError, match="9 workers"):
        require_room(nodes, Compute(workers=9), place)
    require_room(nodes, Compute(workers=9, min_workers=2), place)
    require_room([node for node in nodes if not node.heavy], Compute(workers=9), place)
    # What an autoscaler keeps to itself is not refused.
    require_room(nodes, Compute(workers=99), Cluster(1, 0, 1, False, None))


def test_a_gpu_for_features_or_probes_is_refused_where_no_training_is_left(
    sweeps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would wait for it without an end."""
    monkeypatch.setattr("ssl_sweep.sweep.cost.feasible.gpus_here", lambda: 0)
    alone = cluster(Capacity.of_nodes([(8, 0)]))
    sweeps.finish(stage for stage in sweeps.prepared().stages if stage.kind == "pretrain")
    plan = sweeps.plan()
    assert {stage.kind for stage in plan.to_run} == {"features", "probe"}
    for name in ("device", "probe_device"):
        compute = Compute.model_validate({name: "gpu"})
        with pytest.raises(InfeasibleError, match=f"compute.{name} is gpu, but no CUDA GPU"):
            require_feasible(plan, compute, None)
        require_feasible(plan, compute, "auto")
        with pytest.raises(InfeasibleError, match=f"compute.{name} is gpu, but the cluster is limited to"):
            require_room(plan.to_run, compute, alone)
        require_room(plan.to_run, compute, cluster(Capacity((HEAD, SMALL), 8)))
    sweeps.finish(stage for stage in plan.stages if stage.kind == "features")
    require_feasible(sweeps.plan(), Compute(device="gpu"), None)  # probes do not take it


def test_a_large_head_does_not_raise_what_a_gpu_worker_takes() -> None:
    place = machine_of(Compute(), cluster(Capacity((HEAD, SMALL), 8)))
    assert (place.cpus, place.gpus, place.device) == (32, 8, "gpu")


def test_where_no_training_is_left_its_size_does_not_matter(sweeps: Any) -> None:
    """Cells that were added later are answered on a machine that could not train the encoders."""
    large = Compute(cpus_per_worker=9999, device="cpu")
    plan = sweeps.prepared()
    with pytest.raises(InfeasibleError, match="9999 CPUs"):
        require_feasible(plan, large, None)
    sweeps.finish(stage for stage in plan.stages if stage.kind == "pretrain")
    assert sweeps.plan().to_run
    require_feasible(sweeps.plan(), large, None)
