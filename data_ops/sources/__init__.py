"""Where images and labels come from: one module per kind of source, and ``registry`` over all of them.

Imports dataset and synthetic; ``preparation`` and every layer above may import it.
"""

__all__ = ["decode", "listing", "registry", "remote"]
