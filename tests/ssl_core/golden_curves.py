"""The golden loss curves: 20 steps of every method on fixed seeds. As a script it writes them again:

    PYTHONPATH=. python tests/ssl_core/golden_curves.py

which is right only when a method is meant to learn other numbers; its id in a store has to change then too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from training_case import calm_config, train

from ssl_sweep.ssl_core.config.registry import trained_methods

FOLDER = Path(__file__).parent / "golden"


def curve(method: str, folder: Path) -> list[float]:
    """The loss of each of 20 steps on one batch of 32 images, in rates so low that the rounding of another
    CPU does not grow."""
    summary = train(folder, calm_config(method=method), images=32)
    return [record.loss for record in summary.epochs]


def main() -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for method in sys.argv[1:] or trained_methods():
        with tempfile.TemporaryDirectory() as folder:
            losses = curve(method, Path(folder))
        (FOLDER / f"{method}.json").write_text(json.dumps(losses, indent=1) + "\n")


if __name__ == "__main__":
    main()
