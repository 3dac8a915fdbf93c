"""One stage of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.protocols import protocol_of
from ssl_sweep.sweep.spec.specs import ProbeSpec, Spec, Stage
from ssl_sweep.sweep.spec.states import Reason, State


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One unique stage."""

    id: str
    kind: Stage
    spec: Spec
    upstream: tuple[str, ...]
    """Ids of the stages of the same plan that it reads."""
    state: State
    reason: Reason
    """Why it runs, or why it need not."""
    label: str
    provisional: bool
    """Whether it needs a dataset that is not prepared yet; preparing that dataset changes the id."""
    datasets: tuple[str, ...]
    """Names in the grid of the datasets whose images it reads."""

    @classmethod
    def waiting(
        cls,
        id: str,
        kind: Stage,
        spec: Spec,
        upstream: tuple[str, ...],
        label: str,
        datasets: tuple[str, ...],
        read: Iterable[DatasetInfo],
    ) -> PlannedStage:
        """A stage to run. ``read`` are the datasets that it and everything above it need."""
        provisional = kind != "prepare" and not all(info.prepared for info in read)
        upstream = tuple(dict.fromkeys(upstream))
        return cls(id, kind, spec, upstream, "to_run", "new", label, provisional, datasets)

    def with_state(self, state: State, reason: Reason) -> PlannedStage:
        """The same stage in another state."""
        # dataclasses.replace is too slow for tens of thousands of stages.
        return PlannedStage(
            self.id,
            self.kind,
            self.spec,
            self.upstream,
            state,
            reason,
            self.label,
            self.provisional,
            self.datasets,
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def trains(self) -> bool:
        """Whether it is a pretraining. A random or a given encoder is not."""
        return self.kind == "pretrain" and self.spec.trains

    @property
    def heavy(self) -> bool:
        """Whether it is a training, and so a Tune trial: a pretraining or a fine-tuning."""
        return self.spec.trains

    @property
    def fits_on_gpu(self) -> bool:
        """Whether it is a probe that can be fitted on a GPU."""
        return isinstance(self.spec, ProbeSpec) and protocol_of(self.spec.config).gpu
