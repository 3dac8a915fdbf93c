"""A source of another distribution: one file, and one line in ``SOURCES``."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.sources.listing import Listing, Pixels, RawImage, listed
from ssl_sweep.data_ops.sources.options import Source, option
from ssl_sweep.data_ops.sources.registry import SOURCES


@dataclasses.dataclass(frozen=True)
class StripesSource(Source):
    """Noise with horizontal or vertical stripes."""

    images: int = option("Images of each split.", 20, ge=2)

    def listing(self, split: Split) -> Listing:
        labels = [("across",) if i % 2 else ("down",) for i in range(self.images)]
        return listed(labels, [], functools.partial(self._read, split))

    def _read(self, split: Split) -> Iterator[RawImage]:
        for i in range(self.images):
            name = f"{split}[{i}]"
            yield RawImage(name, functools.partial(_stripes, i, split), ("across" if i % 2 else "down",))


def _stripes(i: int, split: Split) -> Pixels:
    pixels = np.random.default_rng([i, len(split)]).integers(0, 60, (8, 8, 3), dtype=np.uint8)
    (pixels if i % 2 else pixels.transpose(1, 0, 2))[::2] += 180
    return pixels


if Path(sys.argv[0]).name == "process_worker.py":  # a worker has the line, as if it stood in the registry
    SOURCES["stripes"] = StripesSource
