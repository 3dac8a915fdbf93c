"""Look at one store or one of its stages: explain, logs, retry, verify, gc and migrate.

Only ``commands`` imports this package.
"""

__all__ = ["explain", "garbage", "logs", "lookup", "migrate", "retry", "verify"]
