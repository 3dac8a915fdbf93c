"""How an encoder is judged: its features, linear probes, nearest neighbours, fine-tuning, and their scores.

The top package of ``ssl_core``: only ``sweep`` imports it. Test labels are used only in ``metrics``.
"""

__all__ = ["features", "finetune", "folds", "fusion", "knn", "linear", "metrics"]
