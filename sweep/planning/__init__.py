"""From a grid to its cells, and from these to the smallest graph of stages that answers them.

Planning reads the store and the sources of the datasets, and writes nothing but the digests of large datasets
beside their arrays. It imports neither torch nor
Ray. Every package above ``grid`` and ``store`` may import it.
"""

__all__ = [
    "cells",
    "columns",
    "datasets",
    "expand",
    "graph",
    "identities",
    "leakage",
    "match",
    "notes",
    "planner",
    "reasons",
    "recipes",
    "stages",
]
