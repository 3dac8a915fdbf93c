"""One linear probe on a GPU: scikit-learn's own estimator on torch tensors, one strength, all labels.

    export SCIPY_ARRAY_API=1
    python benchmarks/probe_gpu.py
    python benchmarks/probe_gpu.py --device cpu:0 --images 5000 --width 64 --classes 20 --check

Prints the seconds and iterations, and the peak of the GPU's memory; target on one large GPU: 1,000,000 × 2048
features of 1,000 classes in 2 minutes. On the host it takes about 28 bytes a number, 57 GB at full size.
`--check` also fits on the CPU by numpy and prints on how many test images the two differ. The GPU suite
(`gpu_suite.py`) runs it as one of its parts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from machine import header

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.linear import ProbeFit, fit_linear_probe


def features(n: int, width: int, classes: int, seed: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise about the centre of each class; float32, made on the device a part at a time."""
    draw = torch.Generator(device=device)
    centres = torch.randn((classes, width), generator=draw.manual_seed(0), device=device)
    draw.manual_seed(seed)
    y = torch.randint(classes, (n,), generator=draw, device=device)
    x = np.empty((n, width), np.float32)
    for start in range(0, n, 65_536):
        labels = y[start : start + 65_536]
        part = torch.randn((len(labels), width), generator=draw, device=device)
        x[start : start + 65_536] = part.add_(centres[labels], alpha=0.1).cpu().numpy()
    return x, y.cpu().numpy()


def measure(
    device: str, images: int, width: int, classes: int, strength: float = 1e-3, check: bool = False
) -> dict[str, Any]:
    """Fit, and give what was measured."""
    (x, y), (x_test, y_test) = (
        features(n, width, classes, seed, device) for seed, n in enumerate((images, 10_000), start=1)
    )

    def probe(device: str) -> ProbeFit:
        config = ProbeConfig(cs=(strength,))
        return fit_linear_probe(x, y, x_test, n_classes=classes, seed=0, config=config, device=device)

    started = time.perf_counter()
    fit = probe(device)
    row: dict[str, Any] = {
        "features": f"{images:,} × {width}, {classes} classes",
        "device": device,
        "seconds": time.perf_counter() - started,
        "iterations": fit.n_iter,
        "converged": fit.converged,
        "top-1 %": 100 * float(np.mean(fit.top5[:, 0] == y_test)),
    }
    if device.startswith("cuda"):
        row["GiB"] = torch.cuda.max_memory_allocated() / 2**30
    if check:
        plain = probe("cpu")
        row["numpy, seconds"] = plain.seconds
        row["other predictions"] = int((plain.top5[:, 0] != fit.top5[:, 0]).sum())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--strength", type=float, default=1e-3)
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    print(header("scikit-learn", "scipy", "torch"))
    row = measure(a.device, a.images, a.width, a.classes, a.strength, a.check)
    for name, value in row.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
