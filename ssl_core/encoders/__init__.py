"""Encoders, their projection heads, and given weights.

Imports configs and ``data_ops``; methods and everything above may import it.
"""

__all__ = [
    "base",
    "build",
    "given",
    "heads",
    "inert_pickle",
    "random",
    "resnets",
    "shapes",
    "vits",
    "weight_files",
    "weight_names",
]
