"""The order of trainings: first those that unlock the most cells per hour, unless ``--priority`` is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.cost.predict import Prediction
from ssl_sweep.sweep.errors import UsageError, did_you_mean
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.columns import RULE_COLUMNS
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.match import Matcher, no_match, spelled
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import STAGES


@dataclass(frozen=True)
class Priority:
    """Cells that match all of ``matcher`` come first; ``text`` is the option as given."""

    text: str
    matcher: Matcher

    @classmethod
    def parse(cls, text: str) -> Priority:
        """Read ``axis=value[,axis=value]``; axes are columns of the results.

        Raises:
            UsageError: it does not have that form.
        """
        wanted: dict[str, frozenset[str]] = {}
        for part in text.split(","):
            column, is_one, value = (word.strip() for word in part.partition("="))
            if not is_one or not column or not value:
                raise UsageError(f"--priority {text}: {part!r} is not of the form axis=value")
            if column not in RULE_COLUMNS:
                similar = did_you_mean(column, RULE_COLUMNS)
                raise UsageError(f"--priority {text}: results have no column {column!r}{similar}")
            if column in wanted:
                raise UsageError(
                    f"--priority {text}: {column} occurs twice", hint="give --priority once for each value"
                )
            try:
                wanted[column] = frozenset({spelled(column, value)})
            except (ValueError, DataError) as error:
                raise UsageError(f"--priority {text}: {column}: {error}") from error
        return cls(text, Matcher((), wanted))

    def fits(self, cell: Cell) -> bool:
        """Whether the cell's row in the results matches. The first encoder of a joined pair counts."""
        return self.matcher.fits(cell.pretraining, cell)


def require_cells(priorities: Sequence[Priority], plan: Plan) -> None:
    """Check that each priority matches a cell.

    Raises:
        UsageError: one matches none.
    """
    for priority in priorities:
        if not any(priority.fits(cell) for cell in plan.cells):
            pairs = [(cell.pretraining, cell) for cell in plan.cells]
            raise UsageError(f"--priority {priority.text}: {no_match(priority.matcher, pairs, 'cell')}")


def order(
    stages: Sequence[PlannedStage],
    plan: Plan,
    predictions: Mapping[str, Prediction],
    priorities: Sequence[Priority] = (),
) -> list[PlannedStage]:
    """The stages in the order to start them, still topological.

    Within a kind of stage, those that the first priority needs come first, then the second's, then the rest.
    Among equals, a training comes earlier the more cells it unlocks per second of a device. A cell that needs
    n trainings counts 1/n for each. Ties keep their order.
    """
    ranks = _ranks(plan, priorities)
    worth: dict[str, float] = defaultdict(float)
    training = {stage.id for stage in plan.to_run if stage.heavy}
    for cell in plan.cells:
        needed = {p.id for p in cell.encoders} & training
        if cell.probe_id in training:
            worth[cell.probe_id] += 1
        for id in needed:
            worth[id] += 1 / len(needed)

    def key(stage: PlannedStage) -> tuple[int, int, float]:
        per_hour = (
            worth[stage.id] / max(predictions[stage.id].device_s, 1e-6) if stage.id in training else 0.0
        )
        return STAGES.index(stage.kind), ranks.get(stage.id, len(priorities)), -per_hour

    return sorted(stages, key=key)


def _ranks(plan: Plan, priorities: Sequence[Priority]) -> dict[str, int]:
    """By stage id: the number of the first priority that needs the stage."""
    ranks: dict[str, int] = {}
    for rank, priority in enumerate(priorities):
        queue = [cell.probe_id for cell in plan.cells if priority.fits(cell)]
        while queue:
            id = queue.pop()
            if id not in ranks and id in plan.by_id:
                ranks[id] = rank
                queue.extend(plan.by_id[id].upstream)
    return ranks
