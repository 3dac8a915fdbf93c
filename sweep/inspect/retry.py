"""``ssl-sweep retry``: delete the records of failures, so that the next run does these stages again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ssl_sweep.sweep.errors import UsageError
from ssl_sweep.sweep.inspect.lineage import Lineage
from ssl_sweep.sweep.inspect.logs import running
from ssl_sweep.sweep.inspect.lookup import Scope, Target
from ssl_sweep.sweep.spec.specs import STAGES
from ssl_sweep.sweep.store.manifest import Failure


@dataclass(frozen=True)
class Reopened:
    """A stage that the next run does again."""

    target: Target
    failure: Failure
    """The failure that was deleted."""
    waiting: int
    """How many stages depend on it."""


def failed_stages(scope: Scope) -> list[Target]:
    """Return every failed stage of the grid, or of the store if no grid was given."""
    if scope.plan is not None:
        targets: Iterable[Target] = (Target(stage.kind, stage.id) for stage in scope.plan.stages)
    else:
        targets = (Target(kind, id) for kind in STAGES for id in scope.store.ids(kind))
    return [target for target in targets if scope.store.failure(target.stage, target.id) is not None]


def reopen(scope: Scope, targets: Iterable[Target]) -> list[Reopened]:
    """Delete the failures of ``targets``, with their counts of attempts.

    Raises:
        UsageError: one of them did not fail, or is running. Then nothing is deleted.
    """
    failures = {target: scope.store.failure(target.stage, target.id) for target in targets}
    for target, failure in failures.items():
        name = f"{target.stage} {target.id}"
        if running(scope.store, target):
            raise UsageError(f"{name} is running", hint=f"ssl-sweep logs {target.id} --follow shows its log")
        if failure is None:
            raise UsageError(f"{name} did not fail", hint=f"ssl-sweep explain {target.id} shows its state")
    lineage = Lineage(scope.store, scope.plan)
    reopened = []
    for target, failure in failures.items():
        assert failure is not None
        scope.store.clear_failure(target.stage, target.id)
        reopened.append(Reopened(target, failure, len(lineage.dependants(target.id))))
    return reopened
