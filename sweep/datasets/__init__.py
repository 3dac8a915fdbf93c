"""What ``ssl-sweep data`` does: list, inspect, check and prepare the datasets of a grid.

``run`` and ``commands`` may import it. It needs neither Ray nor a grid that is feasible as a whole.
"""

__all__ = ["check", "commands", "inspect"]
