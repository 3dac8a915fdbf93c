"""Placement groups of Train's workers under names of our own, so that none is left when a controller dies.

Ray keeps an unnamed group until the whole job ends once the actor that made it was killed (Ray 2.60: a group
goes when its creator *and* its job are dead), and the next training would wait for its processors for ever.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.util import get_placement_group, placement_group, remove_placement_group

from ssl_sweep.sweep.planning.stages import PlannedStage


class NamedGroups(WorkerGroupCallback):
    """Runs in the controller's process, before it makes the group."""

    def __init__(self, stage: PlannedStage) -> None:
        self._name = _name(stage)

    def before_worker_group_start(self, worker_group_context: Any) -> None:
        from ray.train.v2._internal.execution.worker_group import worker_group

        worker_group.placement_group = partial(placement_group, name=self._name)


def remove_group(stage: PlannedStage) -> None:
    """Take away what the controller of this training left; nothing where it left nothing."""
    with contextlib.suppress(ValueError):  # no group of this name
        remove_placement_group(get_placement_group(_name(stage)))


def _name(stage: PlannedStage) -> str:
    return f"ssl-sweep-{stage.id}"
