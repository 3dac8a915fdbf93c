"""The scheduler: leases and starts stages, retries them and records failures, for any back end.

It imports no Ray. Packages above ``execution`` may import it: ``cluster`` implements its ``Backend``.
"""

__all__ = ["backend", "capacity", "failures", "runtime", "scheduler", "stop"]
