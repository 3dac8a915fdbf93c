"""From a source to a prepared dataset: decode, resize, hold out, write; and check a source without writing.

Imports sources and dataset; only ``sweep`` and ``ssl_core`` import it.
"""

__all__ = ["check", "classes", "decode_split", "prepare", "scan", "workspace"]
