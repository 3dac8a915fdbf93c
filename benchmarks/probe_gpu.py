"""One linear probe on a GPU: scikit-learn's own estimator on torch tensors, one strength, all labels.

    export SCIPY_ARRAY_API=1
    python benchmarks/probe_gpu.py
    python benchmarks/probe_gpu.py --device cpu:0 --images 5000 --width 64 --classes 20 --check

Prints the seconds and iterations, and the peak of the GPU's memory; target on one large GPU: 1,000,000 × 2048
features of 1,000 classes in 2 minutes. On the host it takes about 28 bytes a number, 57 GB at full size.
`--check` also fits on the CPU by numpy and prints on how many test images the two differ.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from machine import header

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.linear import ProbeFit, fit_linear_probe


def features(n: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise about the centre of each class; float32, made a part at a time."""
    centres = np.random.default_rng(0).standard_normal((classes, width), np.float32)
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = np.empty((n, width), np.float32)
    for start in range(0, n, 65_536):
        part = slice(start, start + 65_536)
        x[part] = 0.1 * centres[y[part]] + rng.standard_normal((len(y[part]), width), np.float32)
    return x, y


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
    arguments = parser.parse_args()
    print(header("scikit-learn", "scipy", "torch"))
    (x, y), (x_test, y_test) = (
        features(n, arguments.width, arguments.classes, seed)
        for seed, n in enumerate((arguments.images, 10_000), start=1)
    )

    def probe(device: str) -> ProbeFit:
        config = ProbeConfig(cs=(arguments.strength,))
        return fit_linear_probe(
            x, y, x_test, n_classes=arguments.classes, seed=0, config=config, device=device
        )

    started = time.perf_counter()
    fit = probe(arguments.device)
    print(
        f"{x.shape[0]:,} × {x.shape[1]}, {arguments.classes} classes on {arguments.device}: "
        f"{time.perf_counter() - started:.1f} s, {fit.n_iter} iterations, converged {fit.converged}, "
        f"top-1 {100 * np.mean(fit.top5[:, 0] == y_test):.2f} %"
    )
    if arguments.device.startswith("cuda"):
        print(f"peak memory of the GPU: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    if arguments.check:
        plain = probe("cpu")
        differ = int((plain.top5[:, 0] != fit.top5[:, 0]).sum())
        print(f"numpy on the CPU: {plain.seconds:.1f} s; {differ} of {len(y_test)} predictions differ")


if __name__ == "__main__":
    main()
