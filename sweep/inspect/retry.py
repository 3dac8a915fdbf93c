"""`ssl-sweep retry`: reopen what failed. A failure's record and its attempts are forgotten; nothing runs."""

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
    """A stage that the next run does again, and how many stages wait for it."""

    target: Target
    failure: Failure
    waiting: int


def failed_stages(scope: Scope) -> list[Target]:
    """Every failed stage of the grid, or of the store where no grid is given."""
    if scope.plan is not None:
        targets: Iterable[Target] = (Target(n.kind, n.id) for n in scope.plan.stages)
    else:
        targets = (Target(stage, id) for stage in STAGES for id in scope.store.ids(stage))
    return [target for target in targets if scope.store.failure(target.stage, target.id) is not None]


def reopen(scope: Scope, targets: Iterable[Target]) -> list[Reopened]:
    """Forget the failures of `targets`.

    Raises:
        UsageError: one of them did not fail, or runs now; then nothing is reopened.
    """
    failures = {target: scope.store.failure(target.stage, target.id) for target in targets}
    for target, failure in failures.items():
        name = f"{target.stage} {target.id}"
        if running(scope.store, target):
            raise UsageError(f"{name} runs now", hint=f"ssl-sweep logs {target.id} --follow shows it")
        if failure is None:
            raise UsageError(f"{name} did not fail", hint=f"ssl-sweep explain {target.id} says how it stands")
    lineage = Lineage(scope.store, scope.plan)
    reopened = []
    for target, failure in failures.items():
        assert failure is not None
        scope.store.clear_failure(target.stage, target.id)
        reopened.append(Reopened(target, failure, len(lineage.dependants(target.id))))
    return reopened
