"""Every label budget, seed, strength and level of one feature set: our probes against one plain scikit-learn
grid search per cell.

    OMP_NUM_THREADS=1 python benchmarks/probe_speed.py [--small] [--processes 2]

Both sides take the same budgets, seven strengths and three folds, in as many processes of one BLAS thread.
The plain side is `GridSearchCV(StandardScaler, LogisticRegression)` on float64, once per budget, seed and
level; ours is one probe per budget and seed, whose predictions are mapped up. Prints the ratio of wall times,
also of the finest level alone, the top-1 of both, what a probe takes beyond scikit-learn's fits, and the peak
of its memory. `--small` is a quick check of a minute.
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
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_core.config import ProbeConfig
from ssl_core.evaluation.linear import LinearProbes
from ssl_core.evaluation.metrics import level_predictions

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
SMALL = Size(2_000, 2_000, 256, (50, 10, 5), (200, 500, 2_000), 2)


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
            z = centres[y] + rng.normal(size=(n, latent)) * np.linspace(4.5, 1.5, latent)
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
    """`top1` per level; seconds as a whole and inside scikit-learn's fits."""

    cell: Cell
    top1: tuple[float, ...]
    seconds: float
    fitting: float = 0.0


class FitClock:
    """Seconds inside `LogisticRegression.fit`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._fit = LogisticRegression.fit

    def __enter__(self) -> FitClock:
        plain = self._fit

        def timed(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> LogisticRegression:
            started = time.perf_counter()
            plain(model, x, y)
            self.seconds += time.perf_counter() - started
            return model

        LogisticRegression.fit = timed
        return self

    def __exit__(self, *exc: object) -> None:
        LogisticRegression.fit = self._fit


def ours(cell: Cell) -> Outcome:
    with FitClock() as clock:
        started = time.perf_counter()
        rows = DATA.rows(cell.budget, cell.seed)
        fit = LinearProbes(DATA.x, DATA.x_test).fit(
            rows, DATA.y[rows], n_classes=DATA.size.classes[0], seed=cell.seed, config=CONFIG
        )
        levels = level_predictions(fit.top5, trained=0, parents=DATA.parents)
        top1 = [np.mean(top5[:, 0] == DATA.labels(DATA.y_test, i)) for i, top5 in enumerate(levels)]
        seconds = time.perf_counter() - started
    return Outcome(cell, tuple(map(float, top1)), seconds, clock.seconds)


def plain(cell: Cell) -> Outcome:
    started = time.perf_counter()
    rows = DATA.rows(cell.budget, cell.seed)
    y, y_test = DATA.labels(DATA.y, cell.level), DATA.labels(DATA.y_test, cell.level)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(tol=CONFIG.tol, max_iter=CONFIG.max_iter)),
        {"logisticregression__C": CONFIG.cs},
        cv=StratifiedKFold(CONFIG.folds, shuffle=True, random_state=cell.seed),
    )
    search.fit(DATA.x[rows].astype(np.float64), y[rows])
    predicted = search.predict(DATA.x_test.astype(np.float64))
    top1 = [float(np.mean(DATA.labels(predicted, i) == DATA.labels(DATA.y_test, i)))
            for i in range(len(DATA.size.classes))] if cell.level == 0 else [float(np.mean(predicted == y_test))]
    return Outcome(cell, tuple(top1), time.perf_counter() - started)


def run(answer: Callable[[Cell], Outcome], cells: list[Cell], processes: int) -> tuple[float, list[Outcome]]:
    """The largest first, so that no process is left with it at the end."""
    cells = sorted(cells, key=lambda cell: (-cell.budget, cell.level))
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        started = time.perf_counter()
        outcomes = pool.map(answer, cells, chunksize=1)
        return time.perf_counter() - started, outcomes


def peak_memory() -> float:
    """Of a probe on the largest budget, in float64 matrices of it; few iterations take as much as many."""
    budget = DATA.size.budgets[-1]
    rows, config = DATA.rows(budget, 0), ProbeConfig(max_iter=2)
    probes = LinearProbes(DATA.x, DATA.x_test)
    tracemalloc.start()
    probes.fit(rows, DATA.y[rows], n_classes=DATA.size.classes[0], seed=0, config=config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (8 * budget * DATA.size.width)


def report(ours_s: float, plain_s: float, own: list[Outcome], other: list[Outcome]) -> None:
    finest = {o.cell: o for o in other if o.cell.level == 0}
    print("budget  ours s  plain s (all levels, finest)  top-1 ours, plain at the finest level")
    for budget in DATA.size.budgets:
        here = [o for o in own if o.cell.budget == budget]
        there = [o for o in other if o.cell.budget == budget]
        alone = [o for o in there if o.cell.level == 0]
        print(
            f"{budget:6d} {sum(o.seconds for o in here):7.2f} {sum(o.seconds for o in there):8.2f} "
            f"{sum(o.seconds for o in alone):8.2f}  "
            f"{100 * np.mean([o.top1[0] for o in here]):6.2f} {100 * np.mean([o.top1[0] for o in alone]):6.2f}"
        )
    for level in range(len(DATA.size.classes)):
        mapped = 100 * np.mean([o.top1[level] - finest[o.cell].top1[level] for o in own])
        line = f"level {level}: ours minus plain, both mapped up, mean over cells {mapped:+.3f} points"
        if level:
            retrained = [o.top1[0] for o in other if o.cell.level == level]
            line += f"; minus plain trained on the level {100 * (np.mean([o.top1[level] for o in own]) - np.mean(retrained)):+.2f}"
        print(line)
    beyond = {b: [o.seconds - o.fitting for o in own if o.cell.budget == b] for b in DATA.size.budgets}
    print("beyond the fits, ms a probe:", {b: round(1000 * float(np.median(s)), 1) for b, s in beyond.items()})
    cpu = sum(o.seconds for o in own), sum(o.seconds for o in other), sum(o.seconds for o in finest.values())
    print(f"ours {ours_s:.1f} s, plain {plain_s:.1f} s: {plain_s / ours_s:.2f} times as fast; "
          f"the finest level alone {cpu[2] / cpu[0]:.2f} times, in seconds of the processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    global DATA
    DATA = Features(SMALL if arguments.small else FULL)
    print(header("scikit-learn", "numpy", "scipy"))
    print(DATA.size)
    cells = [Cell(b, s) for b in DATA.size.budgets for s in range(DATA.size.seeds)]
    ours_s, own = run(ours, cells, arguments.processes)
    every = [Cell(c.budget, c.seed, level) for c in cells for level in range(len(DATA.size.classes))]
    plain_s, other = run(plain, every, arguments.processes)
    report(ours_s, plain_s, own, other)
    print(f"peak memory of the largest probe: {peak_memory():.2f} float64 matrices of its budget")


if __name__ == "__main__":
    main()
