"""What a sweep says, finished or not: figures, statistics and findings, from the results table only.

``commands`` and ``run`` may import it; it is the only package that imports pandas and matplotlib. ``report``
writes everything, ``frame`` reads a table, ``statistics`` and ``curves`` hold the mathematics.
"""

__all__ = ["frame", "report"]
