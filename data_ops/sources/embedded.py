"""Images that need no download: procedural domains, and scikit-learn's digits."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import Listing, Pixels, RawImage
from ssl_sweep.data_ops.sources.options import MOST_IMAGES, Source, option

_BLOCK = 1024  # procedural images rendered together
_DIGITS = 1797  # load_digits' fixed size, known without importing scikit-learn


@dataclasses.dataclass(frozen=True)
class SyntheticSource(Source):
    """Procedurally rendered images of a domain that ships with the program.

    A larger training set contains the smaller ones. The test images do not depend on ``train``.
    """

    domain: str = option("Name of the procedural domain.")
    train: int = option("Training images.", 4000, ge=1, le=MOST_IMAGES)
    test: int = option("Test images.", 1000, ge=0, le=MOST_IMAGES)
    seed: int = option("Seed of the images; another seed gives another set.", 0, ge=0, lt=2**63)
    size: int = option("Rendered side in pixels.", 32)

    @property
    def label_levels(self) -> tuple[str, ...]:
        from ssl_sweep.data_ops.synthetic.domains import domain_named

        return domain_named(self.domain).levels

    @property
    def version(self) -> str:
        from ssl_sweep.data_ops.synthetic.domains import VERSION

        return VERSION

    def listing(self, split: Split) -> Listing:
        """The images of a split.

        Raises:
            DataError: The domain is unknown, or the number of images is out of range.
        """
        from ssl_sweep.data_ops.synthetic import domains as synthetic

        synthetic.domain_named(self.domain)
        n = self.train if split == "train" else self.test
        if n < (split == "train") or n > synthetic.MAX_IMAGES:
            least = int(split == "train")
            raise DataError(f"{self.domain}: {split} is {n}; use {least} to {synthetic.MAX_IMAGES:,} images")
        first = 0 if split == "train" else synthetic.MAX_IMAGES
        return Listing(n, (), [], functools.partial(self._read, first, n))

    def _read(self, first: int, n: int) -> Iterator[RawImage]:
        from ssl_sweep.data_ops.synthetic import domains as synthetic

        lineage = synthetic.domain_named(self.domain).lineage
        for start in range(0, n, _BLOCK):
            indices = np.arange(first + start, first + min(start + _BLOCK, n))
            block = _Block(self, indices)
            for i, label in enumerate(synthetic.labels(self.domain, indices)):
                yield RawImage(
                    f"{self.domain}[{indices[i]}]", functools.partial(block.image, i), lineage[label]
                )


class _Block:
    """Procedural images that are rendered together when the first of them is needed."""

    def __init__(self, source: SyntheticSource, indices: npt.NDArray[np.int64]) -> None:
        self._source, self._indices = source, indices
        self._lock = threading.Lock()  # of the threads that decode, one renders
        self._images: Pixels | None = None

    def image(self, i: int) -> Pixels:
        from ssl_sweep.data_ops.synthetic import domains as synthetic

        source = self._source
        with self._lock:
            if self._images is None:
                self._images = synthetic.render(source.domain, self._indices, source.seed, source.size)
            return self._images[i]


@dataclasses.dataclass(frozen=True)
class DigitsSource(Source):
    """scikit-learn's 1,797 handwritten digits.

    They have 8 x 8 gray pixels: a small real set that ships with a dependency.
    """

    test_fraction: float = option("Share of the images that is held out as test images.", 0.3, gt=0, lt=1)
    seed: int = option("Draw of the test images.", 0, ge=0, lt=2**63)

    @property
    def label_levels(self) -> tuple[str, ...]:
        return "digit", "parity"

    @property
    def version(self) -> str:
        from importlib.metadata import version  # slow to import, and only for this source

        return version("scikit-learn")

    def listing(self, split: Split) -> Listing | None:
        """All images; the test split is held out of them."""
        return Listing(_DIGITS, (), [], _read_digits) if split == "train" else None


def _read_digits() -> Iterator[RawImage]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    gray = np.minimum(digits.images * 16, 255).astype(np.uint8)  # 0..16 to 0..255
    for i, (image, digit) in enumerate(zip(gray, digits.target, strict=True)):
        rgb = np.repeat(image[:, :, None], 3, axis=2)
        labels = (str(digit), "odd" if digit % 2 else "even")
        yield RawImage(f"digits[{i}]", functools.partial(_same, rgb), labels)


def _same(pixels: Pixels) -> Pixels:
    return pixels
