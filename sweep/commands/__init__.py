"""The commands of ``ssl-sweep``: their options, and how their results are shown.

Only ``cli`` may import it. Modules that declare commands import the rest of the program inside functions, so
that ``--help`` and completion are quick.
"""

__all__ = [
    "cluster",
    "cost",
    "data",
    "doctor",
    "migrate",
    "options",
    "render",
    "render_data",
    "report",
    "stage",
    "verify",
]
