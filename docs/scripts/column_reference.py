"""Write docs/columns.md from the declarations of the results columns. Run it after a declaration changed:

python docs/scripts/column_reference.py
"""

from __future__ import annotations

from pathlib import Path

from ssl_sweep.sweep.planning.columns import COLUMNS
from ssl_sweep.sweep.results.report_table import EVIDENCE
from ssl_sweep.sweep.spec.columns import Column

PAGE = Path(__file__).parents[1] / "columns.md"
_INTRO = """# Results columns

`python docs/scripts/column_reference.py` writes this page from the declarations. Do not edit it by hand.
[Add a results column](how-to/column.md) says how a column is declared.

`ssl-sweep results GRID` gives a row for each cell and label level, with these columns in this order. A field
is empty if its column does not apply. `match` and `fuse` choose encoders by the columns of encoder, images,
recipe and seed; `exclude` and `--priority` choose cells by these and by the columns of evaluation and
protocols. All of them are parameters in MLflow, and scores are metrics.

Tables of older versions lack some columns. A report takes such a column as empty, or as the value given here.

| column | type | belongs to | if empty | |
|---|---|---|---|---|"""
_MORE = """
Parquet files and reports have these columns too. They differ from run to run, or are large:

| column | type | belongs to | if empty | |
|---|---|---|---|---|"""


def reference() -> str:
    """The whole page."""
    return "\n".join([_INTRO, *map(_line, COLUMNS.values()), _MORE, *map(_line, EVIDENCE), ""])


def _line(column: Column) -> str:
    neutral = "" if column.neutral in (None, "") else f"`{column.neutral}`"
    doc = column.doc.replace("|", "\\|")
    return f"| `{column.name}` | {column.type.__name__} | {column.of} | {neutral} | {doc} |"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"{PAGE} is written")
