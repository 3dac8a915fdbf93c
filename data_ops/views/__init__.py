"""Augmented views of images: policies as data, one stateless sampler, renderers for torch and DALI, a loader.

Imports only ``data_ops.errors``, ``hashing`` and ``images``; every layer above may import it.
"""

__all__ = ["backend", "loader", "named_policies", "policy", "torch_views"]
