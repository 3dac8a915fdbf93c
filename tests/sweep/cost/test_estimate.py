"""Rates and their sources, predictions, what a plan takes, and how long it takes on a cluster."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from ssl_sweep.sweep.cost.estimate import CostEstimate, costed, estimate
from ssl_sweep.sweep.cost.machine import Machine, machine
from ssl_sweep.sweep.cost.predict import Experience, Prediction, predict
from ssl_sweep.sweep.cost.prices import price_of
from ssl_sweep.sweep.cost.rates import (
    Calibration,
    Rates,
    calibrations,
    images_seen,
    save_calibration,
    shape_of,
)
from ssl_sweep.sweep.cost.simulate import SimulatedStage, makespan
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import FeatureSpec, PretrainSpec
from ssl_sweep.sweep.store.manifest import RunRecord

HERE = Machine(cpus=2, gpus=0, device="cpu", hardware="a processor")
OTHER = replace(HERE, hardware="another processor")
H200 = Machine(cpus=64, gpus=8, device="gpu", hardware="NVIDIA H200")
COMPUTE = Compute()


def train(sweeps: Any, stage: PlannedStage, seconds: float, place: Machine = HERE, workers: int = 1) -> None:
    """A finished training whose epochs took `seconds`, and which took 3 more."""
    assert isinstance(stage.spec, PretrainSpec)
    steps = images_seen(stage.spec) // stage.spec.config.batch
    sweeps.commit(stage, {"steps": steps, "seconds": seconds, "epochs": []})
    path = sweeps.store.path("pretrain", stage.id) / "manifest.json"
    run = RunRecord.since(time.time() - seconds - 3, hardware=place.hardware, workers=workers)
    manifest = sweeps.store.manifest("pretrain", stage.id)
    run = replace(run, seconds=seconds + 3)
    path.unlink()
    outputs = manifest.outputs
    assert sweeps.store.commit("pretrain", stage.id, stage.spec, stage.upstream, outputs, run)


def predicted(sweeps: Any, plan: Plan, stage: PlannedStage, place: Machine = HERE) -> Prediction:
    return predict(plan, Experience.of(sweeps.store), place, COMPUTE)[stage.id]


def sized(plan: Plan) -> list[PlannedStage]:
    return sorted(plan.pretrainings, key=lambda n: (images_seen(n.spec), n.id))  # type: ignore[arg-type]


def test_a_measured_rate_holds_for_its_shape_and_hardware_alone(sweeps: Any) -> None:
    plan = sweeps.prepared()
    small, large = sized(plan)[0], sized(plan)[-1]
    assert predicted(sweeps, plan, small).source == "default guess"
    train(sweeps, small, 12.0)
    found = predicted(sweeps, plan, small)
    assert (found.seconds, found.source) == (pytest.approx(12.0), "measured")
    assert found.start_s == pytest.approx(3 + 1)  # as measured, and an in-process start
    ratio = images_seen(large.spec) / images_seen(small.spec)  # type: ignore[arg-type]
    assert predicted(sweeps, plan, large).seconds == pytest.approx(12 * ratio)
    elsewhere = predicted(sweeps, plan, small, OTHER)
    assert (elsewhere.seconds, elsewhere.source) == (pytest.approx(12.0), "scaled")
    assert "a processor" in elsewhere.note
    assert predicted(sweeps, plan, small, H200).source == "default guess"


def test_the_sources_come_in_order(sweeps: Any) -> None:
    plan = sweeps.prepared()
    stage = sized(plan)[0]
    assert isinstance(stage.spec, PretrainSpec)
    config = stage.spec.config
    asked = Calibration(
        shape=shape_of(config, "cpu", "a processor"),
        step_s=0.64,
        epoch_s=0.5,
        checkpoint_s=3.0,
        steps=9,
        copies=2,
        time="",
    )
    save_calibration(sweeps.store.storage, replace(asked, step_s=99.0))
    save_calibration(sweeps.store.storage, asked)  # in place of the first
    sweeps.store.storage.put("rates/damaged.json", b"{")
    assert list(calibrations(sweeps.store.storage).values()) == [asked]
    found = predicted(sweeps, plan, stage)
    epochs = 2 * (images_seen(stage.spec) / 64 * 0.64 / 2 + 0.5)
    assert (found.seconds, found.source) == (pytest.approx(epochs * (1 + 3.0 / 30)), "calibrated")

    rates = Rates.of(sweeps.store)
    byol = replace(config, method="byol")
    scaled = rates.rate(byol, HERE)
    assert (scaled.source, scaled.note) == ("scaled", "from method simclr")
    assert scaled.per_image_s == pytest.approx(1.4 * 0.64 / 64)
    assert rates.rate(replace(config, batch=128), HERE).note == "from batch 64"
    assert rates.rate(replace(config, batch=128), HERE, workers=2).source == "calibrated"
    assert rates.rate(replace(config, encoder="resnet18"), HERE).source == "default guess"
    assert rates.rate(config, replace(HERE, hardware="")).source == "calibrated"
    train(sweeps, stage, 5.0)
    assert predicted(sweeps, plan, stage).source == "measured"


def test_light_stages_are_measured_too(sweeps: Any) -> None:
    plan = sweeps.prepared()
    sweeps.finish(n for n in plan.stages if n.kind == "pretrain")
    plan = sweeps.plan()
    features = next(n for n in plan.stages if isinstance(n.spec, FeatureSpec) and n.spec.split == "train")
    probe = next(n for n in plan.stages if n.kind == "probe")
    sweeps.commit(features, {"shape": [1000, 128]})
    sweeps.commit(probe, sweeps.outputs(probe))
    known = Experience.of(sweeps.store)
    after = predict(plan, known, HERE, COMPUTE)
    assert after[features.id].source == after[probe.id].source == "measured"
    assert after[features.id].seconds == pytest.approx(2, abs=0.2)  # commit's records say two seconds
    gpu = replace(known, images={(*key[:3], "gpu", H200.hardware): s for key, s in known.images.items()})
    assert predict(plan, gpu, H200, COMPUTE)[features.id].seconds == after[features.id].seconds
    other = [n for n in plan.stages if n.kind == "probe" and after[n.id].source == "scaled"]
    assert other and all(after[n.id].seconds > 0 for n in other)


def estimated(sweeps: Any, plan: Plan, compute: Compute = COMPUTE, place: Machine = HERE) -> CostEstimate:
    return estimate(plan, sweeps.store, compute, place)


def test_an_estimate_is_of_what_is_to_run_and_says_where_it_comes_from(sweeps: Any) -> None:
    plan = sweeps.prepared()
    before = estimated(sweeps, plan)
    assert before.trainings.sources == {"default guess": 6}
    assert before.alone_s == pytest.approx(10 * before.shared_s)  # every training answers 2 x 5 cells
    assert before.trainings.device_s == pytest.approx(before.shared_s)
    train(sweeps, plan.pretrainings[0], 7200.0)
    after = estimated(sweeps, sweeps.plan())
    assert after.trainings.sources == {"measured": 5}
    assert after.device_s == pytest.approx(
        after.trainings.device_s + after.features.device_s + after.others.device_s
    )
    assert after.trainings.device_s / 2 < after.wall_s < after.device_s
    assert after.disk_bytes < before.disk_bytes
    said = "\n".join(after.lines())
    assert "(5 measured)" in said and "2 x a processor" in said and "6 trainings serve 80 cells" in said


def test_money_is_the_users_price_or_a_list_price_to_be_checked(sweeps: Any) -> None:
    plan = sweeps.prepared()
    own = estimated(sweeps, plan, Compute(price_per_hour=3600.0))
    assert own.cost == pytest.approx(own.device_s)
    assert "compute.price_per_hour" in "\n".join(own.lines())
    listed = price_of(COMPUTE, H200)
    assert listed is not None and listed.on_demand > 1 and "to be checked" in listed.source
    assert price_of(COMPUTE, replace(H200, hardware="NVIDIA L4")) is not None
    assert price_of(COMPUTE, replace(H200, hardware="NVIDIA L40S")) is None
    unknown = estimated(sweeps, plan, COMPUTE, replace(H200, hardware="a new GPU"))
    assert unknown.cost is None and "set compute.price_per_hour" in "\n".join(unknown.lines())


def test_prices_and_hardware_are_in_no_identity(sweeps: Any) -> None:
    ids = {stage.id for stage in sweeps.prepared().stages}
    asked = sweeps.plan(sweeps.grid, "compute={price_per_hour: 2, hardware: NVIDIA H200, device: gpu}")
    assert {stage.id for stage in asked.stages} == ids


def test_gpus_are_assumed_only_where_they_are_asked_for() -> None:
    cpu = machine(Compute(device="cpu"))
    assert (cpu.device, cpu.gpus, cpu.assumed) == ("cpu", 0, False)
    asked = machine(Compute(device="gpu", workers=4, hardware="NVIDIA H200"), gpus=0)
    assert (asked.device, asked.gpus, asked.hardware, asked.assumed) == ("gpu", 4, "NVIDIA H200", True)
    assert asked.label == "4 x NVIDIA H200 (assumed)"


def test_a_plan_is_for_what_was_asked_or_is_refused(sweeps: Any) -> None:
    sweeps.prepared()
    grid, uri = sweeps.write(), sweeps.store.uri
    on_gpus = ("compute.device=gpu", "compute.workers=8", "pretrain.0.batch=64")
    with pytest.raises(InfeasibleError, match=r"8 workers x 1 GPUs = 8 GPUs; --gpus is 4"):
        costed(grid, on_gpus, uri, None, 4)
    assert costed(grid, on_gpus, uri, None, 8).estimate.machine.gpus == 8
    assert costed(grid, (*on_gpus, "compute.gpus_per_worker=0.5"), uri, None, 4).estimate.machine.gpus == 4
    for cpus, gpus in ((None, 4.0), (8.0, None)):
        with pytest.raises(UsageError, match=r"--address 127.0.0.1:9 plans for that cluster"):
            costed(grid, (), uri, cpus, gpus, "127.0.0.1:9")


def test_a_plan_for_a_ray_of_ones_own_starts_none(sweeps: Any) -> None:
    def started(address: str) -> NoReturn:
        raise AssertionError("plan starts nothing")

    sweeps.prepared()
    here = costed(sweeps.write(), (), sweeps.store.uri, None, None).estimate.machine
    assert costed(sweeps.write(), (), sweeps.store.uri, None, None, "local", started).estimate.machine == here


def test_estimating_is_quick_for_many_cells(sweeps: Any) -> None:
    grid = sweeps.write()
    _, plan = plan_grid(grid, ["evaluate.seed=[" + ", ".join(map(str, range(100))) + "]"], sweeps.store)
    started = time.process_time()
    estimated(sweeps, plan)
    assert len(plan.cells) > 3000 and time.process_time() - started < 1


def stage(
    id: str, seconds: float, *upstream: str, cpus: float = 1, gpus: float = 0, heavy: bool = True
) -> SimulatedStage:
    return SimulatedStage(id, seconds, cpus, gpus, upstream, heavy)


@pytest.mark.parametrize(
    ("stages", "cpus", "gpus", "seconds"),
    [
        ([], 2, 0, 0),
        ([stage("a", 3), stage("b", 3), stage("c", 3)], 2, 0, 6),
        ([stage("a", 3), stage("b", 2, "a", heavy=False), stage("c", 4)], 2, 0, 5),
        ([stage("a", 3), stage("b", 2, "a", heavy=False), stage("c", 4)], 1, 0, 9),
        ([stage("b", 2, "done before")], 1, 0, 2),
        ([stage("a", 5, cpus=8), stage("b", 1)], 2, 0, 6),  # too large for the cluster: alone
        ([stage("a", 5, gpus=1), stage("b", 5, gpus=1), stage("p", 9, heavy=False)], 4, 1, 10),
        ([stage("a", 4, gpus=0.25, cpus=0), stage("b", 4, gpus=0.25, cpus=0)], 1, 1, 4),
        ([stage("long", 9), stage("short", 1), stage("short2", 1)], 2, 0, 9),
        ([stage("short", 1), stage("short2", 1), stage("long", 9)], 2, 0, 10),  # the order counts
    ],
)
def test_a_schedule_is_played_through(
    stages: list[SimulatedStage], cpus: float, gpus: float, seconds: float
) -> None:
    assert makespan(stages, cpus, gpus) == pytest.approx(seconds)
