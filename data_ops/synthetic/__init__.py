"""Procedural image domains with a label hierarchy, one module per domain.

Imports only ``data_ops.errors`` and ``hashing``; every layer above may import it.
"""

__all__ = ["canvas", "domains"]
