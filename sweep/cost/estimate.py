"""What a plan takes: device-hours, wall time, disk and money, each with the source of the figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.cost.arithmetic import Device
from ssl_sweep.sweep.cost.disk import disk_bytes
from ssl_sweep.sweep.cost.machine import Machine, cpus_per_gpu, machine, machine_of
from ssl_sweep.sweep.cost.predict import Experience, Prediction, predict
from ssl_sweep.sweep.cost.prices import Price, price_of
from ssl_sweep.sweep.cost.rates import SOURCES
from ssl_sweep.sweep.cost.simulate import SimulatedStage, makespan
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.notes import Note
from ssl_sweep.sweep.planning.outputs import require_outside_images
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.planning.whereabouts import elsewhere
from ssl_sweep.sweep.store.store import Store

_AROUND_S = 20.0  # starting Ray, importing in each process, and the mirror, on 2 cores
_SMALLEST_SHOWN = 0.5  # costs by a list price below this are not shown: such prices are not exact
_NOTES = 3  # largest number of notes about scaled rates that is shown


@dataclass(frozen=True, kw_only=True)
class Part:
    """What some of the stages take together."""

    device_s: float
    """Device-seconds."""
    sources: Mapping[str, int]
    """Source of the figure → number of stages."""

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> Part:
        """Add up the predictions of these stages."""
        found = list(predictions)
        return cls(device_s=sum(p.device_s for p in found), sources=Counter(p.source for p in found))

    @property
    def sources_text(self) -> str:
        """The sources in words, such as ``3 measured, 1 default guess``."""
        return ", ".join(f"{self.sources[s]:,} {s}" for s in SOURCES if self.sources.get(s))


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """What the stages that are to run take on a machine."""

    machine: Machine
    trainings: Part
    """Pretrainings, on the device of the machine."""
    tunings: Part
    """Fine-tunings, on the device of the machine."""
    features: Part
    """Feature extraction, on the device of the machine."""
    others: Part
    """All else, on CPU cores."""
    wall_s: float
    """Seconds that the whole run takes on the machine."""
    cells: int
    """Cells of the plan."""
    unique: int
    """Trainings that these cells share."""
    shared_s: float
    """Device-seconds of these trainings, finished or not."""
    alone_s: float
    """Device-seconds if every cell trained its own encoder."""
    disk_bytes: int
    price: Price | None
    """Price of the device; None if unknown."""
    notes: tuple[str, ...] = ()
    """What the most common scaled rates were scaled from."""

    @property
    def device(self) -> Device:
        return self.machine.device

    @property
    def device_s(self) -> float:
        """GPU-seconds, or core-seconds on a machine without GPUs."""
        parts = [self.trainings, self.tunings, self.features]
        return sum(part.device_s for part in (parts if self.device == "gpu" else [*parts, self.others]))

    @property
    def cost(self) -> float | None:
        """Cost at the on-demand price; None if the price is unknown."""
        return None if self.price is None else self.device_s / 3600 * self.price.on_demand

    def lines(self) -> Iterator[str]:
        """The lines at the end of ``ssl-sweep plan``."""
        unit = "GPU" if self.device == "gpu" else "core"
        named = (
            ("trainings", self.trainings, unit),
            ("fine-tuning", self.tunings, unit),
            ("features", self.features, unit),
            ("other", self.others, "core"),
        )
        shown = [(name, part, of) for name, part, of in named if part.sources]
        for name, part, of in shown:
            yield f"compute: {name:<11} {hours(part.device_s):>9} of one {of} ({part.sources_text})"
        for note in self.notes:
            yield f"         scaled {note}"
        if shown:
            yield f"wall:    about {hours(self.wall_s)} on {self.machine.label}, by simulation"
        if self.unique and self.alone_s > self.shared_s:
            factor = self.alone_s / self.shared_s
            serve = "training serves" if self.unique == 1 else "trainings serve"
            yield (
                f"sharing: {self.unique:,} {serve} {self.cells:,} cells: {hours(self.shared_s)} of"
                f" one {unit}; one training per cell would take {hours(self.alone_s)} ({factor:.1f}x as much)"
            )
        if self.disk_bytes:
            yield f"disk:    {size_text(self.disk_bytes)} more"
        own = self.price is not None and not self.price.listed
        if self.cost and self.price and (own or self.cost >= _SMALLEST_SHOWN):
            spot = self.price.spot
            less = f", {_money(self.cost * spot / self.price.on_demand)} on spot machines" if spot else ""
            each = f"{self.price.on_demand:g} per {unit}-hour ({self.price.source})"
            yield f"money:   {_money(self.cost)}{less}: {self.device_s / 3600:,.1f} {unit}-hours at {each}"
        elif shown and self.price is None:
            hardware = self.machine.hardware or "this GPU"
            yield f"money:   no list price for {hardware}; set compute.price_per_hour"

    def to_json(self) -> dict[str, Any]:
        """The key ``estimate`` of ``ssl-sweep plan --json``."""
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
    """A plan and what it takes."""

    plan: Plan
    estimate: CostEstimate

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep plan --json`` prints."""
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
    """Plan a grid and estimate what it takes.

    Args:
        path: The grid file.
        overrides: ``KEY=VALUE`` changes of the grid.
        store_uri: The store to plan for.
        cpus: CPU cores to plan for, instead of this machine's.
        gpus: GPUs to plan for, instead of this machine's.
        address: Cluster to plan for, instead of this machine.
        join: Connects to the cluster at ``address``.

    Raises:
        UsageError: ``address`` is given together with ``cpus`` or ``gpus``.
        InfeasibleError: no cluster answers at ``address``, or the GPUs hold no training of the grid.
    """
    remote = address not in (None, "local")  # a local Ray has what this machine has, so none is started
    if remote and (cpus is not None or gpus is not None):
        raise UsageError(
            f"--address {address} plans for that cluster; --cpus and --gpus plan for another one",
            hint="give either --address, or --cpus and --gpus",
        )
    store = Store(store_uri)
    require_outside_images(path, overrides, store.uri, "the store", "--store")
    grid, plan = plan_grid(path, overrides, store, expect=True)
    if not store.executed() and (known := elsewhere(path, store)):
        plan = replace(plan, notes=(*plan.notes, Note("store", f"store: {store.uri} is empty; {known}")))
    if not remote:
        place = machine(grid.compute, cpus, gpus)
        _require_enough_gpus(plan, grid.compute, place, gpus)
    else:
        assert address is not None and join is not None
        with join(address) as cluster:
            place = machine_of(grid.compute, cluster)
    return Costed(plan, estimate(plan, store, grid.compute, place))


def _require_enough_gpus(plan: Plan, compute: Compute, place: Machine, gpus: float | None) -> None:
    """Refuse a number of GPUs that holds no training of the grid; with more GPUs it would be another plan.

    Raises:
        InfeasibleError: gives both numbers.
    """
    if gpus is None or place.device != "gpu" or not any(stage.heavy for stage in plan.to_run):
        return
    workers, each = compute.workers, compute.gpus_per_worker or 1.0
    if workers * each > gpus:
        raise InfeasibleError(
            f"a training needs {workers} workers x {each:g} GPUs = {workers * each:g} GPUs;"
            f" --gpus is {gpus:g}",
            hint="raise --gpus, or lower compute.workers or compute.gpus_per_worker",
        )


def estimate(plan: Plan, store: Store, compute: Compute, machine: Machine) -> CostEstimate:
    """Estimate what the stages that are to run take on ``machine``, and what sharing saves."""
    return estimate_from(plan, predict(plan, Experience.of(store), machine, compute), compute, machine)


def estimate_from(
    plan: Plan, predictions: Mapping[str, Prediction], compute: Compute, machine: Machine
) -> CostEstimate:
    """Like ``estimate``, from the predictions of all stages."""
    trained = {stage.id for stage in plan.pretrainings}

    def part(*kinds: str, training: bool = False) -> Part:
        stages = [s for s in plan.to_run if s.kind in kinds and (s.id in trained) == training]
        return Part.of(predictions[stage.id] for stage in stages)

    alone = [p.id for cell in plan.cells for p in cell.encoders if p.trained]
    notes = (predictions[stage.id].note for stage in plan.to_run)
    scaled = Counter(note for note in notes if note)
    simulated = [_simulated(stage, predictions[stage.id], compute, machine) for stage in plan.to_run]
    return CostEstimate(
        machine=machine,
        trainings=part("pretrain", training=True),
        tunings=part("finetune"),
        features=part("features"),
        others=part("prepare", "pretrain", "probe"),
        wall_s=_AROUND_S + makespan(simulated, machine.cpus, machine.gpus) if simulated else 0.0,
        cells=len(plan.cells),
        unique=len(trained),
        shared_s=sum(predictions[id].device_s for id in trained),
        alone_s=sum(predictions[id].device_s for id in alone),
        disk_bytes=disk_bytes(plan),
        price=price_of(compute, machine),
        notes=tuple(note for note, _ in scaled.most_common(_NOTES)),
    )


def _simulated(
    stage: PlannedStage, predicted: Prediction, compute: Compute, machine: Machine
) -> SimulatedStage:
    """Return a stage with the resources that it holds while it runs."""
    if predicted.gpu:
        each = compute.gpus_per_worker or 1.0
        cpus = (compute.cpus_per_worker or cpus_per_gpu(machine)) * predicted.devices / each
        need = (cpus if stage.heavy else 0.0, predicted.devices)
    else:
        need = (predicted.devices, 0.0)
    return SimulatedStage(stage.id, predicted.seconds + predicted.start_s, *need, stage.upstream, stage.heavy)


def hours(seconds: float) -> str:
    """Format seconds, such as ``75 s``, ``12 min``, ``3.4 h`` or ``1,200 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    count = seconds / 3600
    return f"{count:.1f} h" if count < 100 else f"{count:,.0f} h"


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


def size_text(count: int) -> str:
    """Format bytes, such as ``87 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
