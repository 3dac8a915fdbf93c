"""What each kind of stage does, in any process: read inputs from the store, work, commit the result.

Nothing here uses Ray. ``cluster``, ``datasets``, ``run`` and ``commands`` may import this package.
"""

__all__ = ["encoder_card", "label_budget", "perform", "prepare", "training", "watchdog"]
