"""What must hold of a store after any number of kills: each thing once, and nothing left over."""

from __future__ import annotations

import io
import sqlite3
from collections import Counter
from pathlib import Path

from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.results.table import results, write_results
from ssl_sweep.sweep.store.store import Store


def table(plan: Plan, store: Store) -> str:
    """The results as CSV."""
    text = io.BytesIO()
    write_results(results(plan, store), "csv", text)
    return text.getvalue().decode()


def leftovers(root: Path) -> list[str]:
    """Temporary files, stop files, checkpoints of what is finished, leases and drivers' heartbeats."""

    def left(path: Path) -> bool:
        parts = path.relative_to(root).parts
        half = path.name.endswith((".tmp", ".partial", ".link"))
        half |= path.name.startswith((".stop", ".probe-"))
        return half or "checkpoint" in path.name or (parts[0] in ("leases", "drivers") and path.is_file())

    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if left(path))


def mirrored(root: Path) -> Counter[str]:
    """How often each id is a finished run of the SQLite mirror; unfinished runs under `UNFINISHED`."""
    query = (
        "select tags.value, runs.status from tags join runs on runs.run_uuid = tags.run_uuid"
        " where tags.key = 'ssl_sweep.id' and runs.lifecycle_stage = 'active'"
    )
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as database:
        rows = database.execute(query).fetchall()
    return Counter(id if status == "FINISHED" else f"{UNFINISHED} {id}" for id, status in rows)


UNFINISHED = "unfinished"


def faults(grid: Path, root: Path, undisturbed: str) -> list[str]:
    """What is wrong with a finished sweep's store, as sentences; [] where all is well."""
    store = Store(root)
    _, plan = plan_grid(grid, (), store)
    found = [f"{len(plan.to_run)} stages are not complete"] if plan.to_run else []
    if table(plan, store) != undisturbed:
        found.append("the table is not that of an undisturbed run")
    counts = Counter((execution.stage, execution.id) for execution in store.executions())
    found += [f"{kind} {id} was executed {n} times" for (kind, id), n in counts.items() if n != 1]
    missing = {(stage.kind, stage.id) for stage in plan.stages} - set(counts)
    found += [f"{kind} {id} has no execution" for kind, id in sorted(missing)]
    found += [f"left over: {path}" for path in leftovers(root)]
    wanted = {cell.id for cell in plan.cells} | {stage.id for stage in plan.pretrainings}
    runs = mirrored(root)
    found += [f"MLflow lacks {id}" for id in sorted(wanted - set(runs))]
    found += [f"MLflow has {id} {n} times" for id, n in runs.items() if n != 1]
    found += [f"MLflow has {id}, which nobody asked for" for id in sorted(set(runs) - wanted)]
    return found
