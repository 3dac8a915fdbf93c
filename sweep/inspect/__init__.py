"""Look at one store or one of its stages: explain, logs, retry, verify and gc.

Only ``commands`` imports this package.
"""

__all__ = ["explain", "garbage", "logs", "lookup", "retry", "verify"]
