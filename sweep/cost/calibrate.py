"""``ssl-sweep calibrate``: measure how long a step takes here, for every shape of training in a grid.

The real trainer runs on noise images. As many copies run at once as in a sweep, since they slow each other
down. Communication between the workers of one training is not measured, nor are reads of images above 64 px
from a cold disk.
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
from ssl_sweep.sweep.cost.machine import Machine, cpus_per_gpu, machine
from ssl_sweep.sweep.cost.rates import Calibration, Rates, Shape, save_calibration, shape_of
from ssl_sweep.sweep.errors import InfeasibleError, first_line
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.outputs import require_outside_images
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.store.manifest import utc
from ssl_sweep.sweep.store.store import Store

_WARM_UP_S = 3.0


class Crew(Protocol):
    """Processes that measure at the same time."""

    machine: Machine
    """What they run on."""

    def measure(self, jobs: Sequence[Job]) -> list[Measured]:
        """Run all jobs at once and return what each measured."""


@dataclass(frozen=True)
class _ToMeasure:
    """The trainings of one shape."""

    config: PretrainConfig
    """Config of the training with the most images."""
    images: int
    """Images of that training."""
    trainings: int
    """How many trainings have this shape."""


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
    """Measure the shapes of a grid's trainings that have no rate on this hardware yet, and save the rates.

    Args:
        path: The grid file.
        overrides: ``KEY=VALUE`` changes of the grid.
        store_uri: The store to save rates in.
        address: Cluster to measure on; None or ``local`` for this machine.
        seconds: Seconds to measure each shape.
        again: Also measure shapes that have a rate, and finished trainings.
        say: Prints one line of progress.
        crew_at: Connects to the processors of the cluster at ``address``.

    Raises:
        GridError: the grid is wrong.
        InfeasibleError: no cluster answers at ``address``, or a training is too large for it.
        StoreError: the store cannot be used.
    """
    store = Store(store_uri)
    require_outside_images(path, overrides, store.uri, "the store", "--store")
    store.check_writable()
    grid, plan = plan_grid(path, overrides, store, expect=True)
    compute = grid.compute
    if address in (None, "local"):
        crews: AbstractContextManager[Crew] = _processes(compute)
    else:
        assert address is not None and crew_at is not None
        crews = crew_at(compute, address)
    with crews as crew:
        shapes = _shapes(plan, compute, crew.machine, Rates.of(store), again)
        say(
            f"{len(shapes)} shapes of training to measure on {crew.machine.label}, about {seconds:.0f} s each"
        )
        found = []
        for shape, asked in shapes.items():
            for calibration in _calibrate(asked, compute, crew, store.root, seconds):
                save_calibration(store.storage, calibration)
                found.append(calibration)
                say(f"{shape.label}: {1000 * calibration.step_s:.1f} ms per step")
    return found


def _shapes(
    plan: Plan, compute: Compute, place: Machine, rates: Rates, again: bool
) -> dict[Shape, _ToMeasure]:
    """Collect what to measure by shape; each shape is measured on its training with the most images."""
    found: dict[Shape, _ToMeasure] = {}
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
        found[shape] = _ToMeasure(
            stage.spec.config if more or before is None else before.config,
            images if more or before is None else before.images,
            1 if before is None else before.trainings + 1,
        )
    return found


def _calibrate(
    asked: _ToMeasure, compute: Compute, crew: Crew, folder: Path, seconds: float
) -> Iterator[Calibration]:
    """Measure one shape; yields one calibration per type of hardware that measured."""
    config = replace(asked.config, batch=asked.config.batch // compute.workers, queue=0)
    place = crew.machine
    on_gpu = place.device == "gpu"
    each_gpu = (compute.gpus_per_worker or 1.0) if on_gpu else 0.0
    threads = compute.cpus_per_worker or (cpus_per_gpu(place) if on_gpu else 1)
    fitting = int(place.gpus // each_gpu if on_gpu else place.cpus // threads)
    copies = max(1, min(fitting, asked.trainings * compute.workers))
    jobs = [
        Job(
            config=replace(config, queue=_queue(asked.config, config)),
            images=max(config.batch, asked.images // compute.workers),
            folder=folder,
            on_gpu=on_gpu,
            threads=threads,
            warm_up_s=_WARM_UP_S,
            seconds=seconds,
            gpu=int(copy * each_gpu) if on_gpu else None,
            training=compute.training,
        )
        for copy in range(copies)
    ]
    by_hardware: dict[str, list[Measured]] = defaultdict(list)
    for measured in _measured(crew, jobs):
        by_hardware[measured.hardware].append(measured)
    for hardware, group in by_hardware.items():
        yield Calibration(
            shape=shape_of(asked.config, place.device, hardware, compute.workers),
            step_s=fmean(m.step_s for m in group),
            epoch_s=fmean(m.epoch_s for m in group),
            checkpoint_s=fmean(m.checkpoint_s for m in group),
            steps=min(m.steps for m in group),
            copies=len(group),
            time=utc(),
        )


def _measured(crew: Crew, jobs: Sequence[Job]) -> list[Measured]:
    """Run all jobs.

    Raises:
        InfeasibleError: the batch is too large for the memory, or a process was killed.
    """
    try:
        return crew.measure(jobs)
    except Exception as error:  # from torch, the process pool, or Ray
        one = jobs[0].config
        raise InfeasibleError(
            f"{one.method} · {one.encoder} · {one.image_size} px · batch {one.batch} cannot be measured here:"
            f" {first_line(error)}",
            hint="the rates measured before are saved; if memory is short, use a smaller batch or"
            " compute.activation_checkpointing=true",
        ) from error


def _queue(asked: PretrainConfig, own: PretrainConfig) -> int:
    """Return the size of MoCo's queue if it is a multiple of one worker's batch, else 0."""
    return asked.queue if asked.queue % own.batch == 0 else 0


# Crews --------------------------------------------------------------------------------------------------


@contextmanager
def _processes(compute: Compute) -> Iterator[Crew]:
    """Start processes on this machine."""
    place = machine(compute)
    fitting = int(place.cpus) if place.device == "cpu" else int(place.gpus / (compute.gpus_per_worker or 1.0))
    with ProcessPoolExecutor(max(1, fitting), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield _ProcessCrew(place, pool)


class _ProcessCrew:
    """One process per copy; they stay alive for the next shape."""

    def __init__(self, place: Machine, pool: ProcessPoolExecutor) -> None:
        self.machine, self._pool = place, pool

    def measure(self, jobs: Sequence[Job]) -> list[Measured]:
        # As many calls as jobs reach as many processes, since importing takes each of them seconds.
        for started in [self._pool.submit(warm) for _ in jobs]:
            started.result()
        return list(self._pool.map(measure, jobs))
