"""What a plan will take: device-hours, wall time, disk and money, each with where the figure comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.cost.arithmetic import Device
from ssl_sweep.sweep.cost.disk import disk_bytes
from ssl_sweep.sweep.cost.machine import Machine, machine
from ssl_sweep.sweep.cost.predict import Experience, Prediction, predict
from ssl_sweep.sweep.cost.prices import Price, price_of
from ssl_sweep.sweep.cost.rates import SOURCES
from ssl_sweep.sweep.cost.resources import cpus_per_gpu, machine_of
from ssl_sweep.sweep.cost.simulate import Job, makespan
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.store import Store

# Starting Ray, the processes' imports and the mirror, on 2 cores.
_AROUND_S = 20.0
# In money by a list price, which is to be checked: less is not worth a line.
_WORTH_SAYING = 0.5
# Shown at most: what scaled rates were scaled from.
_NOTES = 3


@dataclass(frozen=True, kw_only=True)
class Part:
    """Seconds of one device that some stages take, and by how many of them from which source."""

    device_s: float
    sources: Mapping[str, int]

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> Part:
        found = list(predictions)
        return cls(device_s=sum(p.device_s for p in found), sources=Counter(p.source for p in found))

    @property
    def said(self) -> str:
        """`3 measured, 1 default guess`"""
        return ", ".join(f"{self.sources[s]:,} {s}" for s in SOURCES if self.sources.get(s))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Totals over what is to run, in seconds of one device of `machine`.

    `trainings`, `tunings`, `features` run on the device, `others` on CPU cores. `wall_s` is the whole run on
    the machine. `shared_s` are all unique trainings, finished or not, and `alone_s` what they would take if
    every cell trained its own encoder.
    """

    machine: Machine
    trainings: Part
    tunings: Part
    features: Part
    others: Part
    wall_s: float
    cells: int
    unique: int
    shared_s: float
    alone_s: float
    disk_bytes: int
    price: Price | None
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> Device:
        return self.machine.device

    @property
    def device_s(self) -> float:
        """Seconds of one GPU; on a machine without, of one CPU core."""
        parts = [self.trainings, self.tunings, self.features]
        return sum(part.device_s for part in (parts if self.device == "gpu" else [*parts, self.others]))

    @property
    def cost(self) -> float | None:
        """On demand; None without a price."""
        return None if self.price is None else self.device_s / 3600 * self.price.on_demand

    def lines(self) -> Iterator[str]:
        """Sentences for the end of `ssl-sweep plan`."""
        unit = "GPU" if self.device == "gpu" else "core"
        named = (
            ("trainings", self.trainings, unit),
            ("fine-tuning", self.tunings, unit),
            ("features", self.features, unit),
            ("other", self.others, "core"),
        )
        shown = [(name, part, of) for name, part, of in named if part.sources]
        for name, part, of in shown:
            yield f"compute: {name:<11} {hours(part.device_s):>9} of one {of} ({part.said})"
        for note in self.notes:
            yield f"         scaled {note}"
        if shown:
            yield f"wall:    about {hours(self.wall_s)} on {self.machine.label}, played through"
        if self.unique and self.alone_s > self.shared_s:
            factor = self.alone_s / self.shared_s
            yield (
                f"sharing: {self.unique:,} trainings serve {self.cells:,} cells: {hours(self.shared_s)} of"
                f" one {unit}; one for each would take {hours(self.alone_s)} ({factor:.1f}x more)"
            )
        if self.disk_bytes:
            yield f"disk:    {size_text(self.disk_bytes)} more"
        own = self.price is not None and not self.price.listed
        if self.cost and self.price and (own or self.cost >= _WORTH_SAYING):
            spot = self.price.spot
            less = f", {_money(self.cost * spot / self.price.on_demand)} on spot" if spot else ""
            each = f"{self.price.on_demand:g} per {unit}-hour ({self.price.source})"
            yield f"money:   {_money(self.cost)}{less}: {self.device_s / 3600:,.1f} {unit}-hours at {each}"
        elif shown and self.price is None:
            kind = self.machine.hardware or "GPUs of a kind that nobody knows here"
            yield f"money:   no price of {kind}; give compute.price_per_hour"

    def to_json(self) -> dict[str, Any]:
        """Of `ssl-sweep plan --json`."""
        parts = {n: getattr(self, n) for n in ("trainings", "tunings", "features", "others")}
        return {
            "machine": {
                n: getattr(self.machine, n) for n in ("cpus", "gpus", "device", "hardware", "assumed")
            },
            **{n: {"device_s": p.device_s, "sources": dict(p.sources)} for n, p in parts.items()},
            "device_hours": self.device_s / 3600,
            "wall_s": self.wall_s,
            "shared_s": self.shared_s,
            "alone_s": self.alone_s,
            "disk_bytes": self.disk_bytes,
            "cost": self.cost,
            "price": None if self.price is None else vars(self.price),
        }


@dataclass(frozen=True)
class Costed:
    """A plan and what it takes; what `ssl-sweep plan` shows."""

    plan: Plan
    estimate: Estimate

    def to_json(self) -> dict[str, Any]:
        return {**self.plan.to_json(), "estimate": self.estimate.to_json()}


def costed(
    path: Path,
    overrides: Iterable[str],
    store_uri: str,
    cpus: float | None,
    gpus: float | None,
    address: str | None = None,
    join: Callable[[str], AbstractContextManager[Cluster]] | None = None,
) -> Costed:
    """A grid's plan and what it takes: on this machine, on a cluster of `cpus` and `gpus`, or on the cluster
    at `address`, which `join` connects to.

    Raises:
        UsageError: `address` is given together with `cpus` or `gpus`.
        InfeasibleError: no cluster answers at `address`, or it cannot hold one training.
    """
    there = address not in (None, "local")  # a Ray of one's own has what this machine has, and is not started
    if there and (cpus is not None or gpus is not None):
        raise UsageError(
            f"--address {address} plans for that cluster as it is, --cpus and --gpus for another",
            hint="leave out the one or the other",
        )
    store = Store(store_uri)
    grid, plan = plan_grid(path, overrides, store, expect=True)
    if not there:
        place = machine(grid.compute, cpus, gpus)
        _require_asked(plan, grid.compute, place, gpus)
    else:
        assert address is not None and join is not None
        with join(address) as cluster:
            place = machine_of(grid.compute, cluster)
    return Costed(plan, estimate(plan, store, grid.compute, place))


def _require_asked(plan: Plan, compute: Compute, place: Machine, gpus: float | None) -> None:
    """InfeasibleError where so many GPUs as were named hold no training of the grid: with more it would be
    another plan than the one that was asked for."""
    if gpus is None or place.device != "gpu" or not any(stage.heavy for stage in plan.to_run):
        return
    workers, each = compute.workers, compute.gpus_per_worker or 1.0
    if workers * each > gpus:
        raise InfeasibleError(
            f"a training needs {workers} workers x {each:g} GPUs = {workers * each:g} GPUs;"
            f" --gpus says {gpus:g}",
            hint="raise --gpus, or lower compute.workers or compute.gpus_per_worker",
        )


def estimate(plan: Plan, store: Store, compute: Compute, machine: Machine) -> Estimate:
    """What the stages of `plan` that are to run take on `machine`, and what sharing saves."""
    return estimate_from(plan, predict(plan, Experience.of(store), machine, compute), compute, machine)


def estimate_from(
    plan: Plan, predictions: Mapping[str, Prediction], compute: Compute, machine: Machine
) -> Estimate:
    """As `estimate`, from the predictions of all stages."""
    trained = {stage.id for stage in plan.pretrainings}

    def part(*kinds: str, training: bool = False) -> Part:
        stages = [n for n in plan.to_run if n.kind in kinds and (n.id in trained) == training]
        return Part.of(predictions[stage.id] for stage in stages)

    alone = [p.id for cell in plan.cells for p in cell.encoders if p.trained]
    scaled = Counter(predictions[n.id].note for n in plan.to_run if predictions[n.id].note)
    jobs = [job(stage, predictions[stage.id], compute, machine) for stage in plan.to_run]
    return Estimate(
        machine=machine,
        trainings=part("pretrain", training=True),
        tunings=part("finetune"),
        features=part("features"),
        others=part("prepare", "pretrain", "probe"),
        wall_s=_AROUND_S + makespan(jobs, machine.cpus, machine.gpus) if jobs else 0.0,
        cells=len(plan.cells),
        unique=len(trained),
        shared_s=sum(predictions[id].device_s for id in trained),
        alone_s=sum(predictions[id].device_s for id in alone),
        disk_bytes=disk_bytes(plan),
        price=price_of(compute, machine),
        notes=tuple(note for note, _ in scaled.most_common(_NOTES)),
    )


def job(stage: PlannedStage, predicted: Prediction, compute: Compute, machine: Machine) -> Job:
    """What a stage holds while it runs."""
    if predicted.gpu:
        each = compute.gpus_per_worker or 1.0
        cpus = (compute.cpus_per_worker or cpus_per_gpu(machine)) * predicted.devices / each
        need = (cpus if stage.heavy else 0.0, predicted.devices)
    else:
        need = (predicted.devices, 0.0)
    return Job(stage.id, predicted.seconds + predicted.start_s, *need, stage.upstream, stage.heavy)


def hours(seconds: float) -> str:
    """`75 s`, `12 min`, `3.4 h`, `1,200 h`"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    count = seconds / 3600
    return f"{count:.1f} h" if count < 100 else f"{count:,.0f} h"


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


def size_text(count: int) -> str:
    """`87 MB`"""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
