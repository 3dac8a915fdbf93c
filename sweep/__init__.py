"""From a grid file to results: planning, store, execution on Ray, tracking, report.

Only ``cli`` may import it. The layers of its packages are in pyproject.toml.
"""

__all__ = [
    "cluster",
    "commands",
    "cost",
    "datasets",
    "execution",
    "grid",
    "inspect",
    "planning",
    "report",
    "results",
    "run",
    "spec",
    "stages",
    "store",
    "tracking",
    "util",
]
