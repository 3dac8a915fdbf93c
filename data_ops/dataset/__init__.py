"""Prepared datasets and what is drawn from them: pools, subsets, label budgets, corruptions, copies.

Imports only ``data_ops.errors``, ``hashing`` and ``images``; every layer above may import it.
"""

__all__ = ["corruptions", "digests", "draws", "duplicates", "holdout", "pool", "prepared", "subsets"]
