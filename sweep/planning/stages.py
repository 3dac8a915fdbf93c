"""One stage of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.spec.specs import UNTRAINED, FinetuneSpec, PretrainSpec, ProbeSpec, Spec, Stage

State = Literal["complete", "to_run"]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One unique stage. `upstream` are the ids of nodes of the same plan; `reason` is why it runs (new,
    missing, damaged, failed before, upstream changed, version raised) or why it need not; `datasets` are the
    names in the grid whose images it reads. `provisional`: a dataset of it, or above it, is not prepared
    yet, and the id will change when it is."""

    id: str
    kind: Stage
    spec: Spec
    upstream: tuple[str, ...]
    state: State
    reason: str
    label: str
    provisional: bool
    datasets: tuple[str, ...]

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
        """A node to run. `read` are the datasets of it and of all above it."""
        provisional = kind != "prepare" and not all(info.prepared for info in read)
        upstream = tuple(dict.fromkeys(upstream))
        return cls(id, kind, spec, upstream, "to_run", "new", label, provisional, datasets)

    def complete(self, reason: str) -> PlannedStage:
        """The same stage, finished; `dataclasses.replace` is too slow for ten thousands."""
        return PlannedStage(
            self.id,
            self.kind,
            self.spec,
            self.upstream,
            "complete",
            reason,
            self.label,
            self.provisional,
            self.datasets,
        )

    @property
    def trains(self) -> bool:
        """A pretraining, as against a random or given encoder or another stage."""
        return isinstance(self.spec, PretrainSpec) and self.spec.config.method not in UNTRAINED

    @property
    def heavy(self) -> bool:
        """A training of its own, and so a Tune trial: a pretraining or a fine-tuning."""
        return self.trains or isinstance(self.spec, FinetuneSpec)

    @property
    def linear(self) -> bool:
        """A linear probe, as against one of nearest neighbours or another stage."""
        return isinstance(self.spec, ProbeSpec) and isinstance(self.spec.config, ProbeConfig)
