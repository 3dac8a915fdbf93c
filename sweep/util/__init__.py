"""Helpers that any program could use: whole files, processes, scratch folders, signals and addresses.

Every package of ``sweep`` may import this one; it imports only ``sweep.errors``.
"""

__all__ = ["addresses", "collection", "files", "processes", "scratch", "signals"]
