"""How long a report of 100,000 result rows takes. Prints rows, seconds, and the size of the page.

    python benchmarks/report_speed.py            # needs the tests' helpers beside it; about a minute

The table is a made-up study of every lens (tests/helpers/study_table.py), repeated under further evaluation
seeds until it has that many rows, with 1,000 test images a row.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from study_table import study  # noqa: E402

from ssl_sweep.sweep.report.report import write_report  # noqa: E402


def repeated(table: pa.Table, rows: int) -> pa.Table:
    """At least `rows` rows: the same cells under further probe seeds."""
    parts = []
    for seed in range(-(-rows // len(table))):
        seeds = pa.array([seed] * len(table), pa.int64())
        ids = pa.array([f"{id}-{seed}" for id in table["cell_id"].to_pylist()])
        part = table.set_column(table.schema.get_field_index("probe_seed"), "probe_seed", seeds)
        parts.append(part.set_column(part.schema.get_field_index("cell_id"), "cell_id", ids))
    return pa.concat_tables(parts)


@click.command()
@click.option("--rows", default=100_000, show_default=True)
def main(rows: int) -> None:
    table = repeated(study(n_test=1000).arrow(), rows)
    with tempfile.TemporaryDirectory() as folder:
        started, worked = time.perf_counter(), time.process_time()
        written = write_report(table, Path(folder) / "report", title="speed")
        took, cpu = time.perf_counter() - started, time.process_time() - worked
        size = written.page.stat().st_size / 1e6
    click.echo(
        f"{len(table):,} rows: {took:.1f} s ({cpu:.1f} s of processor time), {len(written.figures) // 3}"
        f" figures, page {size:.1f} MB"
    )


if __name__ == "__main__":
    main()
