"""What a stage is: its specification, its identity and its files.

Every package of ``sweep`` above may import this one; it imports only ``util`` and ``errors``.
"""

__all__ = ["files", "identity", "specs"]
