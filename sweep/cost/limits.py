"""A limit on what a run may take: refused before it starts, or stopped cleanly when it is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_sweep.sweep.cost.estimate import Estimate, estimate_from, hours
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.cost.predict import Experience, Prediction, predict
from ssl_sweep.sweep.cost.prices import Price
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.store import Store

_LARGEST_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`gpu_hours` of one GPU (of one CPU core on machines without), `cost` in the currency of the price."""

    gpu_hours: float | None = None
    cost: float | None = None

    def seconds(self, price: Price | None) -> float | None:
        """The tighter one in seconds of one device, None without any. UsageError where the price is not
        known."""
        found = [] if self.gpu_hours is None else [self.gpu_hours * 3600]
        if self.cost is not None:
            if price is None:
                raise UsageError(
                    "--max-cost needs a price, and this hardware's is not known",
                    hint="give the price of one GPU (or core) for an hour: compute.price_per_hour=...",
                )
            if price.on_demand:
                found.append(self.cost / price.on_demand * 3600)
        return min(found) if found else None


NO_LIMITS = Limits()


class Budget:
    """What one run has spent, in seconds of one device: its trainings by this process's clock, light stages
    by their predictions once they are done."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._limit_s: float | None = None
        self._predictions: Mapping[str, Prediction] = {}
        self._gpu = False
        self._running: dict[str, float] = {}
        self._light: set[str] = set()  # light stages that this run has begun
        self._spent_s = 0.0
        self._held: list[PlannedStage] = []

    def check(self, plan: Plan, store: Store, compute: Compute, place: Machine) -> None:
        """Before anything starts. InfeasibleError where the plan would go above a limit, with the numbers and
        what takes most; UsageError for a limit in money where the price is not known."""
        if self._limits == NO_LIMITS:
            return
        predictions = predict(plan, Experience.of(store), place, compute)
        found = estimate_from(plan, predictions, compute, place)
        self._limit_s = self._limits.seconds(found.price)
        if self._limit_s is not None and found.device_s > self._limit_s:
            raise _above(self._limits, found, plan, predictions)

    def follow(self, predictions: Mapping[str, Prediction], gpu: bool) -> None:
        """What the stages that come next were predicted to take; `gpu`: GPUs are what is counted."""
        self._predictions, self._gpu = predictions, gpu

    @property
    def spent_s(self) -> float:
        now = self._clock()
        running = sum((now - since) * self._devices(id) for id, since in self._running.items())
        return self._spent_s + running

    @property
    def over(self) -> bool:
        """Everything is spent."""
        return self._limit_s is not None and self.spent_s >= self._limit_s

    def allows(self, stage: PlannedStage) -> bool:
        """Whether a training fits into what is left, with what runs now. One that does not is remembered."""
        if self._limit_s is None:
            return True
        now = self._clock()
        ahead = sum(
            max(self._device_s(id), (now - since) * self._devices(id)) for id, since in self._running.items()
        )
        fits = self._spent_s + ahead + self._device_s(stage.id) <= self._limit_s
        if not fits:
            self._held.append(stage)
        return fits

    def changed(self, stage: PlannedStage, status: str) -> None:
        """To be told of every change of a stage."""
        if status == "running" and stage.heavy:
            self._running[stage.id] = self._clock()
        elif (since := self._running.pop(stage.id, None)) is not None:
            self._spent_s += (self._clock() - since) * self._devices(stage.id)
        elif status == "running":
            self._light.add(stage.id)
        elif status == "complete" and stage.id in self._light:  # and not another driver's
            self._light.discard(stage.id)
            self._spent_s += self._device_s(stage.id)

    @property
    def said(self) -> str:
        """Why the run ended before its end; '' where it did not."""
        if self._limit_s is None or not (self.over or self._held):
            return ""
        text = f"the budget is spent: {hours(self.spent_s)} of {hours(self._limit_s)} of one device"
        if self._held:
            text += f", and {len(self._held)} trainings that would go above it were not started"
        return text

    def _devices(self, id: str) -> float:
        found = self._predictions.get(id)
        return found.devices if found is not None and found.gpu == self._gpu else 0.0

    def _device_s(self, id: str) -> float:
        found = self._predictions.get(id)
        return found.device_s if found is not None and found.gpu == self._gpu else 0.0


def _above(
    limits: Limits, found: Estimate, plan: Plan, predictions: Mapping[str, Prediction]
) -> InfeasibleError:
    unit = "GPU" if found.device == "gpu" else "core"
    text = f"the run would take {found.device_s / 3600:,.2f} {unit}-hours"
    if found.cost is not None and limits.cost is not None:
        text += f", {found.cost:,.2f} in money"
    asked = []
    if limits.gpu_hours is not None:
        asked.append(f"--max-gpu-hours is {limits.gpu_hours:g}")
    if limits.cost is not None:
        asked.append(f"--max-cost is {limits.cost:g}")
    largest = sorted(plan.to_run, key=lambda stage: -predictions[stage.id].device_s)[:_LARGEST_SHOWN]
    most = "".join(
        f"\n  {hours(predictions[stage.id].device_s):>9}  {stage.kind} {stage.label}" for stage in largest
    )
    said = ", ".join(f"{count} {source}" for source, count in found.trainings.sources.items())
    return InfeasibleError(
        f"{text}; {' and '.join(asked)} (trainings: {said or 'none'}). The largest:{most}",
        hint="raise the limit, or cut images, epochs or seeds; `ssl-sweep calibrate` gives measured rates",
    )
