"""How far colour and raw pixels go on the embedded domains: logistic regressions against chance.

For each procedural domain, at its finest label level: top-1 accuracy of a logistic regression on an image's
mean colour (3 numbers) and on its raw pixels, and chance, the share of the most frequent test class. Both
regressions see standardised values; of several strengths of the penalty the one that is best on the test
images counts, which flatters them. A domain that is learnable only through shape and texture has the first
near chance and the second far from what features reach.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_sweep.data_ops.synthetic.domains import DOMAINS, MAX_IMAGES, labels, render

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1.0)  # C, the inverse of the strength

Features = npt.NDArray[np.float64]


def images(domain: str, first: int, n: int, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """n images from index `first` on, as a grid with seed 0 has them, and their fine classes."""
    indices = np.arange(first, first + n)
    return render(domain, indices, seed=0, size=size), labels(domain, indices)


def best_accuracy(
    x_train: Features, y_train: npt.NDArray[np.int64], x_test: Features, y_test: npt.NDArray[np.int64]
) -> float:
    """Top-1 on the test images at the kindest penalty."""
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    scores = []
    for c in PENALTIES:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # weak penalties stop at the limit, overfitted
            model = LogisticRegression(C=c, max_iter=100).fit(x_train, y_train)
        scores.append(model.score(x_test, y_test))
    return float(max(scores))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--train", type=int, default=2000, help="training images (2000)")
    parser.add_argument("--test", type=int, default=1000, help="test images (1000)")
    parser.add_argument("--size", type=int, default=32, help="pixels (32)")
    options = parser.parse_args()

    print(f"{options.train} training and {options.test} test images of {options.size} px, top-1 %")
    print(f"{'':12}{'classes':>8}{'chance':>8}{'mean colour':>13}{'raw pixels':>12}{'seconds':>9}")
    for name in DOMAINS:
        started = time.perf_counter()
        train, y_train = images(name, 0, options.train, options.size)
        test, y_test = images(name, MAX_IMAGES, options.test, options.size)
        chance = np.bincount(y_test).max() / len(y_test)
        colour = best_accuracy(train.mean(axis=(1, 2)), y_train, test.mean(axis=(1, 2)), y_test)
        flat = (array.reshape(len(array), -1).astype(np.float64) for array in (train, test))
        x_train, x_test = flat
        pixels = best_accuracy(x_train, y_train, x_test, y_test)
        print(
            f"{name:12}{len(np.unique(y_test)):8}{100 * chance:8.1f}{100 * colour:13.1f}{100 * pixels:12.1f}"
            f"{time.perf_counter() - started:9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
