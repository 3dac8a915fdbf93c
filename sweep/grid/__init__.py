"""The grid file: its YAML, its schema and the problems it has, each with its line.

``planning`` and every package above may import this one; it imports ``spec``, ``util`` and ``errors``.
"""

__all__ = [
    "axes",
    "datasets",
    "load",
    "marked_yaml",
    "overrides",
    "pools",
    "schema",
    "sizes",
    "studies",
    "views",
    "weights",
]
