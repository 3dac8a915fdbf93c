"""One ``ssl-sweep run``: plan, order, execute, show progress, notify.

Only ``commands`` may import it.
"""

__all__ = ["notify", "priority", "progress", "run"]
