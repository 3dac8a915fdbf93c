"""Limits on what a run may take. A plan above a limit is refused; a run that reaches one stops cleanly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_sweep.sweep.cost.estimate import CostEstimate, estimate_from, hours
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.cost.predict import Experience, Prediction, predict
from ssl_sweep.sweep.cost.prices import Price
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.states import State
from ssl_sweep.sweep.store.store import Store

_LARGEST_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a run; None: no limit."""

    gpu_hours: float | None = None
    """GPU-hours, or CPU core-hours on a machine without GPUs."""
    cost: float | None = None
    """Money, in the currency of the price."""

    def seconds(self, price: Price | None) -> float | None:
        """Return the tighter limit in device-seconds, None if there is no limit.

        Raises:
            UsageError: the cost is limited and the price is unknown.
        """
        found = [] if self.gpu_hours is None else [self.gpu_hours * 3600]
        if self.cost is not None:
            if price is None:
                raise UsageError(
                    "--max-cost needs a price, and there is no list price for this hardware",
                    hint="set compute.price_per_hour to the price of one GPU (or CPU core) per hour",
                )
            if price.on_demand:
                found.append(self.cost / price.on_demand * 3600)
        return min(found) if found else None


NO_LIMITS = Limits()


class LimitGuard:
    """Compares the device-seconds that a run has used with its limits.

    Trainings count by the clock of this process, light stages by their prediction once they are complete.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._limit_s: float | None = None
        self._predictions: Mapping[str, Prediction] = {}
        self._gpu = False
        self._running: dict[str, float] = {}
        self._light: set[str] = set()  # light stages that this run started
        self._spent_s = 0.0
        self._not_started: list[PlannedStage] = []

    def check(self, plan: Plan, store: Store, compute: Compute, place: Machine) -> None:
        """Check the whole plan before anything starts.

        Raises:
            InfeasibleError: the plan would exceed a limit; gives the numbers and the largest stages.
            UsageError: the cost is limited and the price is unknown.
        """
        if self._limits == NO_LIMITS:
            return
        predictions = predict(plan, Experience.of(store), place, compute)
        found = estimate_from(plan, predictions, compute, place)
        self._limit_s = self._limits.seconds(found.price)
        if self._limit_s is not None and found.device_s > self._limit_s:
            raise _exceeded(self._limits, found, plan, predictions)

    def follow(self, predictions: Mapping[str, Prediction], gpu: bool) -> None:
        """Set the predictions for the stages that run next; ``gpu``: count GPU-seconds, else core-seconds."""
        self._predictions, self._gpu = predictions, gpu

    @property
    def spent_s(self) -> float:
        """Device-seconds used so far."""
        now = self._clock()
        running = sum((now - since) * self._devices(id) for id, since in self._running.items())
        return self._spent_s + running

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self._limit_s is not None and self.spent_s >= self._limit_s

    def allows(self, stage: PlannedStage) -> bool:
        """Whether a training fits in what the trainings that run now leave.

        One that does not fit is remembered for ``stop_reason``.
        """
        if self._limit_s is None:
            return True
        now = self._clock()
        ahead = sum(
            max(self._device_s(id), (now - since) * self._devices(id)) for id, since in self._running.items()
        )
        fits = self._spent_s + ahead + self._device_s(stage.id) <= self._limit_s
        if not fits:
            self._not_started.append(stage)
        return fits

    def changed(self, stage: PlannedStage, state: State) -> None:
        """Count a change of a stage's state; call this for every change."""
        if state == "running" and stage.heavy:
            self._running[stage.id] = self._clock()
        elif (since := self._running.pop(stage.id, None)) is not None:
            self._spent_s += (self._clock() - since) * self._devices(stage.id)
        elif state == "running":
            self._light.add(stage.id)
        elif state == "complete" and stage.id in self._light:  # not one that another driver ran
            self._light.discard(stage.id)
            self._spent_s += self._device_s(stage.id)

    @property
    def stop_reason(self) -> str:
        """Why the run stopped before it was complete, '' if no limit stopped it."""
        if self._limit_s is None or not (self.over or self._not_started):
            return ""
        text = f"the limit is reached: {hours(self.spent_s)} of {hours(self._limit_s)} on one device"
        if self._not_started:
            text += (
                f"; trainings that were not started because they would exceed it: {len(self._not_started)}"
            )
        return text

    def _devices(self, id: str) -> float:
        found = self._predictions.get(id)
        return found.devices if found is not None and found.gpu == self._gpu else 0.0

    def _device_s(self, id: str) -> float:
        found = self._predictions.get(id)
        return found.device_s if found is not None and found.gpu == self._gpu else 0.0


def _exceeded(
    limits: Limits, found: CostEstimate, plan: Plan, predictions: Mapping[str, Prediction]
) -> InfeasibleError:
    unit = "GPU" if found.device == "gpu" else "core"
    text = f"the run would take {found.device_s / 3600:,.2f} {unit}-hours"
    if found.cost is not None and limits.cost is not None:
        text += f" and cost {found.cost:,.2f}"
    set_limits = []
    if limits.gpu_hours is not None:
        set_limits.append(f"--max-gpu-hours is {limits.gpu_hours:g}")
    if limits.cost is not None:
        set_limits.append(f"--max-cost is {limits.cost:g}")
    largest = sorted(plan.to_run, key=lambda stage: -predictions[stage.id].device_s)[:_LARGEST_SHOWN]
    most = "".join(
        f"\n  {hours(predictions[stage.id].device_s):>9}  {stage.kind} {stage.label}" for stage in largest
    )
    sources = found.trainings.sources_text or "none"
    return InfeasibleError(
        f"{text}; {' and '.join(set_limits)} (rates of the trainings: {sources}). The largest stages:{most}",
        hint="raise the limit, or cut images, epochs or seeds; `ssl-sweep calibrate` measures the rates",
    )
