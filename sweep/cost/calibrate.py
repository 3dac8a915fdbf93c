"""`ssl-sweep calibrate`: how long a step takes here, for every kind of training of a grid.

The trainer itself runs on noise, as many at once as a sweep would run, since neighbours slow each other down.
What workers of one training exchange is not in it, nor reading images above 64 pixels from a cold disk.
"""

from __future__ import annotations

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Protocol

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.sweep.cost.calibrate_job import Job, Measured, measure, warm
from ssl_sweep.sweep.cost.calibration import Calibration, Shape, keep, shape_of
from ssl_sweep.sweep.cost.machine import Machine, machine
from ssl_sweep.sweep.cost.rates import Rates
from ssl_sweep.sweep.cost.resources import cpus_per_gpu
from ssl_sweep.sweep.errors import InfeasibleError, first_line
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.store.manifest import utc
from ssl_sweep.sweep.store.store import Store

_WARM_UP_S = 3.0


class Crew(Protocol):
    """Processes that measure at the same time, on `machine`."""

    machine: Machine

    def measure(self, jobs: Sequence[Job]) -> list[Measured]:
        """All at once."""


@dataclass(frozen=True)
class _Kind:
    """One shape of training with its config, its images, and how many trainings of it there are."""

    config: PretrainConfig
    images: int
    trainings: int


def calibrate_grid(
    path: Path,
    overrides: Iterable[str],
    store_uri: str,
    address: str | None,
    *,
    seconds: float,
    again: bool,
    say: Callable[[str], None],
    crew_at: Callable[[Compute, str], AbstractContextManager[Crew]] | None = None,
) -> list[Calibration]:
    """Measure every shape of the grid's trainings that has neither a measured nor a calibrated rate on this
    hardware (all of them with `again`), for `seconds` each, and keep the rates in the store. `crew_at`
    connects to the processors of the cluster at `address`.

    Raises:
        GridError: the grid is wrong.
        InfeasibleError: no cluster answers at `address`, or a training is too large for it.
        StoreError: the store cannot be used.
    """
    store = Store(store_uri)
    store.check_writable()
    grid, plan = plan_grid(path, overrides, store, expect=True)
    compute = grid.compute
    if address in (None, "local"):
        crews: AbstractContextManager[Crew] = _processes(compute)
    else:
        assert address is not None and crew_at is not None
        crews = crew_at(compute, address)
    with crews as crew:
        kinds = _kinds(plan, compute, crew.machine, Rates.of(store), again)
        say(f"{len(kinds)} kinds of training to measure on {crew.machine.label}, about {seconds:.0f} s each")
        found = []
        for shape, kind in kinds.items():
            for calibration in _calibrate(kind, compute, crew, store.root, seconds):
                keep(store.storage, calibration)
                found.append(calibration)
                say(f"{shape.label}: {1000 * calibration.step_s:.1f} ms a step")
    return found


def _kinds(plan: Plan, compute: Compute, place: Machine, rates: Rates, again: bool) -> dict[Shape, _Kind]:
    """What there is to measure: unfinished trainings first, of each shape the one with most images."""
    found: dict[Shape, _Kind] = {}
    for stage in plan.pretrainings:
        if stage.state == "complete" and not again:
            continue
        assert isinstance(stage.spec, PretrainSpec)
        shape = shape_of(stage.spec.config, place.device, place.hardware, compute.workers)
        known = shape in rates.measured or shape in rates.calibrated
        if known and not again:
            continue
        images = sum(part.images for part in stage.spec.parts)
        before = found.get(shape)
        more = before is None or images > before.images
        found[shape] = _Kind(
            stage.spec.config if more or before is None else before.config,
            images if more or before is None else before.images,
            1 if before is None else before.trainings + 1,
        )
    return found


def _calibrate(
    kind: _Kind, compute: Compute, crew: Crew, folder: Path, seconds: float
) -> Iterator[Calibration]:
    """A rate for each hardware that measured."""
    config = replace(kind.config, batch=kind.config.batch // compute.workers, queue=0)
    place = crew.machine
    on_gpu = place.device == "gpu"
    each_gpu = (compute.gpus_per_worker or 1.0) if on_gpu else 0.0
    threads = compute.cpus_per_worker or (cpus_per_gpu(place) if on_gpu else 1)
    room = int(place.gpus // each_gpu if on_gpu else place.cpus // threads)
    copies = max(1, min(room, kind.trainings * compute.workers))
    jobs = [
        Job(
            config=replace(config, queue=_queue(kind.config, config)),
            images=max(config.batch, kind.images // compute.workers),
            folder=folder,
            on_gpu=on_gpu,
            threads=threads,
            warm_up_s=_WARM_UP_S,
            seconds=seconds,
            gpu=int(copy * each_gpu) if on_gpu else None,
            backend=compute.backend,
            activation_checkpointing=compute.activation_checkpointing,
            compile=compute.compile,
            watch=compute.watch_knn,
        )
        for copy in range(copies)
    ]
    by_hardware: dict[str, list[Measured]] = defaultdict(list)
    for measured in _measured(crew, jobs):
        by_hardware[measured.hardware].append(measured)
    for hardware, group in by_hardware.items():
        yield Calibration(
            shape=shape_of(kind.config, place.device, hardware, compute.workers),
            step_s=fmean(m.step_s for m in group),
            epoch_s=fmean(m.epoch_s for m in group),
            checkpoint_s=fmean(m.checkpoint_s for m in group),
            steps=min(m.steps for m in group),
            copies=len(group),
            time=utc(),
        )


def _measured(crew: Crew, jobs: Sequence[Job]) -> list[Measured]:
    """InfeasibleError where it cannot be done: too large a batch, a process that was killed."""
    try:
        return crew.measure(jobs)
    except Exception as error:  # of torch, of the pool, or of Ray
        one = jobs[0].config
        raise InfeasibleError(
            f"{one.method} · {one.encoder} · {one.image_size} px · batch {one.batch} cannot be measured here:"
            f" {first_line(error)}",
            hint="what was measured before it is kept; a smaller batch or activation checkpointing takes less"
            " memory",
        ) from error


def _queue(asked: PretrainConfig, mine: PretrainConfig) -> int:
    """MoCo's queue, where it is a multiple of one worker's batch as well."""
    return asked.queue if asked.queue % mine.batch == 0 else 0


# Crews --------------------------------------------------------------------------------------------------


@contextmanager
def _processes(compute: Compute) -> Iterator[Crew]:
    """Processes of this machine."""
    place = machine(compute)
    room = int(place.cpus) if place.device == "cpu" else int(place.gpus / (compute.gpus_per_worker or 1.0))
    with ProcessPoolExecutor(max(1, room), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield _ProcessCrew(place, pool)


class _ProcessCrew:
    """One process for each copy; they stay for the next shape."""

    def __init__(self, place: Machine, pool: ProcessPoolExecutor) -> None:
        self.machine, self._pool = place, pool

    def measure(self, jobs: Sequence[Job]) -> list[Measured]:
        # Warming up in as many calls as there are jobs reaches as many processes: importing takes seconds.
        for started in [self._pool.submit(warm) for _ in jobs]:
            started.result()
        return list(self._pool.map(measure, jobs))
