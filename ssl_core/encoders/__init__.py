"""Encoders, their projection heads, and given weights.

Imports configs and ``data_ops``; methods and everything above may import it.
"""

__all__ = ["base", "build", "given", "heads", "random", "resnets", "vits", "weight_names"]
