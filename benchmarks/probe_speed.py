"""Every label budget, seed, strength and level of one feature set: our probes against one plain scikit-learn
grid search per cell.

    OMP_NUM_THREADS=1 python benchmarks/probe_speed.py [--small] [--processes 2]

Both sides take the same budgets, seven strengths and three folds, in as many processes of one BLAS thread.
The plain side is `GridSearchCV(StandardScaler, LogisticRegression)` on float64, once per budget, seed and
level; ours is one probe per budget and seed, whose predictions are mapped up. Prints the ratio of wall times
and of processor time, also of the finest level alone, the top-1 of both, what a probe takes beyond
scikit-learn's fits, and the peak of its memory. `--small` is a check of a minute.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from machine import header
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.folds import stratified_folds
from ssl_sweep.ssl_core.evaluation.linear import LinearProbes
from ssl_sweep.ssl_core.evaluation.metrics import level_predictions

CONFIG = ProbeConfig()


@dataclass(frozen=True)
class Size:
    """Of the features and of what is asked of them; `classes` per level, from fine to coarse."""

    images: int
    tested: int
    width: int
    classes: tuple[int, ...]
    budgets: tuple[int, ...]
    seeds: int


FULL = Size(20_000, 5_000, 512, (100, 20, 5), (200, 500, 1_000, 2_000, 5_000, 20_000), 3)
SMALL = Size(3_000, 2_000, 256, (50, 10, 5), (200, 800, 3_000), 2)


class Features:
    """Rectified mixtures of latent class centres that share those of their coarser classes."""

    def __init__(self, size: Size) -> None:
        self.size = size
        rng = np.random.default_rng(0)
        fine, *coarse = size.classes
        self.parents = [np.arange(fine) % classes for classes in coarse]
        latent = 64
        centres = 0.6 * rng.normal(size=(fine, latent))
        for parents, classes in zip(self.parents, coarse, strict=True):
            centres += 0.6 * rng.normal(size=(classes, latent))[parents]
        mixing = rng.normal(size=(latent, size.width)) / np.sqrt(latent)
        offset = 0.3 * rng.normal(size=size.width)

        def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
            y = rng.integers(0, fine, n)
            z = centres[y] + rng.normal(size=(n, latent)) * np.linspace(3, 1, latent)
            x = np.maximum(z @ mixing + offset + 0.3 * rng.normal(size=(n, size.width)), 0)
            return x.astype(np.float32), y

        self.x, self.y = draw(size.images)
        self.x_test, self.y_test = draw(size.tested)

    def rows(self, budget: int, seed: int) -> np.ndarray:
        return np.sort(np.random.default_rng(seed).permutation(self.size.images)[:budget])

    def labels(self, y: np.ndarray, level: int) -> np.ndarray:
        return y if level == 0 else self.parents[level - 1][y]


@dataclass(frozen=True)
class Cell:
    """One budget and seed; the plain side asks each level by itself."""

    budget: int
    seed: int
    level: int = 0


@dataclass(frozen=True)
class Outcome:
    """`top1` of the level trained on and of the coarser ones by mapping up; seconds of the processor, and of
    them those outside scikit-learn's fits."""

    cell: Cell
    top1: tuple[float, ...]
    seconds: float
    beyond: float = 0.0


class FitClock:
    """Processor seconds inside `LogisticRegression.fit`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._fit = LogisticRegression.fit

    def __enter__(self) -> FitClock:
        def timed(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> LogisticRegression:
            started = time.process_time()
            self._fit(model, x, y)
            self.seconds += time.process_time() - started
            return model

        LogisticRegression.fit = timed
        return self

    def __exit__(self, *exc: object) -> None:
        LogisticRegression.fit = self._fit


class Sides:
    """The two, on one feature set."""

    def __init__(self, data: Features) -> None:
        self.data = data

    def ours(self, cell: Cell) -> Outcome:
        data, started = self.data, time.process_time()
        with FitClock() as clock:
            rows = data.rows(cell.budget, cell.seed)
            fit = LinearProbes(data.x, data.x_test).fit(
                rows, data.y[rows], n_classes=data.size.classes[0], seed=cell.seed, config=CONFIG
            )
            levels = level_predictions(fit.top5, trained=0, parents=data.parents)
            top1 = self._top1([top5[:, 0] for top5 in levels], 0)
        seconds = time.process_time() - started
        return Outcome(cell, top1, seconds, seconds - clock.seconds)

    def plain(self, cell: Cell) -> Outcome:
        data, started = self.data, time.process_time()
        rows = data.rows(cell.budget, cell.seed)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(tol=CONFIG.tol, max_iter=CONFIG.max_iter)),
            {"logisticregression__C": CONFIG.cs},
            cv=PredefinedSplit(stratified_folds(data.y[rows], cell.seed, CONFIG.folds)),
        )
        search.fit(data.x[rows].astype(np.float64), data.labels(data.y[rows], cell.level))
        predicted = search.predict(data.x_test.astype(np.float64))
        mapped = [predicted]
        if cell.level == 0:
            mapped += [parents[predicted] for parents in data.parents]
        return Outcome(cell, self._top1(mapped, cell.level), time.process_time() - started)

    def _top1(self, predicted: list[np.ndarray], first: int) -> tuple[float, ...]:
        truth = [self.data.labels(self.data.y_test, first + i) for i in range(len(predicted))]
        return tuple(float(np.mean(p == t)) for p, t in zip(predicted, truth, strict=True))

    def peak_memory(self) -> int:
        """Bytes, of a probe on the largest budget; two iterations take as much as all."""
        data, budget = self.data, self.data.size.budgets[-1]
        rows, config = data.rows(budget, 0), ProbeConfig(max_iter=2)
        probes = LinearProbes(data.x, data.x_test)
        tracemalloc.start()
        probes.fit(rows, data.y[rows], n_classes=data.size.classes[0], seed=0, config=config)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak


def run(answer: Callable[[Cell], Outcome], cells: list[Cell], processes: int) -> tuple[float, list[Outcome]]:
    """Wall seconds of all; the largest come first, so that no process is left with one at the end."""
    cells = sorted(cells, key=lambda cell: (-cell.budget, cell.level))
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        started = time.perf_counter()
        outcomes = pool.map(answer, cells, chunksize=1)
        return time.perf_counter() - started, outcomes


def report(size: Size, ours: list[Outcome], plain: list[Outcome]) -> None:
    print("budget: processor seconds of ours, plain, plain at the finest level | top-1 there, ours and plain")
    finest = [o for o in plain if o.cell.level == 0]
    for budget in size.budgets:
        sides = [[o for o in side if o.cell.budget == budget] for side in (ours, plain, finest)]
        seconds = " ".join(f"{sum(o.seconds for o in side):8.1f}" for side in sides)
        top1 = " ".join(f"{100 * np.mean([o.top1[0] for o in side]):6.2f}" for side in (sides[0], sides[2]))
        beyond = 1000 * np.median([o.beyond for o in sides[0]])
        print(f"{budget:6d} {seconds} | {top1} | {beyond:.0f} ms a probe beyond the fits")
    for level in range(len(size.classes)):
        own = 100 * np.mean([o.top1[level] for o in ours])
        same = own - 100 * np.mean([o.top1[level] for o in finest])
        line = f"level {level}: ours {own:.2f}, {same:+.3f} points from plain trained on the finest labels"
        if level:
            retrained = 100 * np.mean([o.top1[0] for o in plain if o.cell.level == level])
            line += f", {own - retrained:+.2f} from plain trained on this level's"
        print(line)
    total = [sum(o.seconds for o in side) for side in (ours, plain, finest)]
    print(
        f"processor time: plain takes {total[1] / total[0]:.2f} times ours, "
        f"its finest level alone {total[2] / total[0]:.2f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    size = SMALL if arguments.small else FULL
    print(header("scikit-learn", "numpy", "scipy"))
    print(size)
    sides = Sides(Features(size))
    cells = [Cell(budget, seed) for budget in size.budgets for seed in range(size.seeds)]
    ours_s, ours = run(sides.ours, cells, arguments.processes)
    every = [Cell(c.budget, c.seed, level) for c in cells for level in range(len(size.classes))]
    plain_s, plain = run(sides.plain, every, arguments.processes)
    report(size, ours, plain)
    print(f"wall time: ours {ours_s:.1f} s, plain {plain_s:.1f} s, {plain_s / ours_s:.2f} times")
    peak, matrix = sides.peak_memory(), 8 * size.budgets[-1] * size.width
    print(
        f"peak memory of the largest probe: {peak / 2**20:.0f} MiB, "
        f"{peak / matrix:.2f} times its budget's matrix in float64"
    )


if __name__ == "__main__":
    main()
