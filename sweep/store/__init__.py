"""Results by identity, in a folder or an object store, with the leases of the drivers that share it.

``planning`` and every package above may import this one; it imports ``spec``, ``util`` and ``errors``.
"""

__all__ = ["leases", "log", "manifest", "object_records", "provenance", "records", "store"]
