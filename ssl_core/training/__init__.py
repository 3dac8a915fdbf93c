"""The training loop and what it needs: data, optimiser, checkpoints, reports, the files of an encoder.

Imports methods and everything below; evaluation and ``export`` may import it. ``reporter`` is without torch.
"""

__all__ = [
    "checkpoint",
    "data",
    "encoder_files",
    "memory",
    "optim",
    "reporter",
    "timing",
    "trainer",
    "watch",
]
