"""What the store says about a plan: the table of results, predictions, the status and the short summary.

Packages above ``results`` may import it. ``table`` and ``predictions`` load pyarrow; ``status`` and
``summary`` do not.
"""

__all__ = ["predictions", "report_table", "status", "summary", "table"]
