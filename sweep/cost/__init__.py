"""What a plan takes in time, disk and money, and whether a machine and the limits of a run allow it.

Nothing here uses torch or Ray at import. ``cluster``, ``datasets``, ``run`` and ``commands`` may import it.
"""

__all__ = ["calibrate", "calibrate_job", "estimate", "feasible", "limits", "machine", "predict", "rates"]
