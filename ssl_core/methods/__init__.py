"""Training methods, one module each. ``Method`` and ``StepOutput`` are what a method of your own needs.

Imports encoders, ``distributed`` and configs; training and evaluation may import it.
"""

from ssl_sweep.ssl_core.methods.base import Method, StepOutput

__all__ = ["Method", "StepOutput", "base", "build", "losses"]
