"""Images that need no download: procedural domains, and scikit-learn's digits."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Iterator
from importlib.metadata import version
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import Listing, Pixels, RawImage
from ssl_sweep.data_ops.sources.options import OnBadImage

_BLOCK = 1024  # procedural images rendered together
_DIGITS = 1797  # load_digits' fixed size, known without importing scikit-learn


@dataclasses.dataclass(frozen=True)
class SyntheticSource:
    """A procedural domain of ``data_ops.synthetic``."""

    domain: str
    train: int = 4000
    """How many training images. A larger set contains the smaller ones."""
    test: int = 1000
    """How many test images. They do not depend on ``train``."""
    seed: int = 0
    size: int = 32
    """The rendered side in pixels."""
    test_fraction: ClassVar[None] = None
    on_bad_image: ClassVar[OnBadImage] = "fail"
    hierarchy: ClassVar[None] = None

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
        return Listing(n, n, frozenset(), [], functools.partial(self._read, first, n))

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
class DigitsSource:
    """scikit-learn's 1,797 handwritten digits (8x8 gray): a small real set that ships with a dependency."""

    test_fraction: float = 0.3
    seed: int = 0
    on_bad_image: ClassVar[OnBadImage] = "fail"
    hierarchy: ClassVar[None] = None
    label_levels: ClassVar[tuple[str, ...]] = ("digit", "parity")

    @property
    def version(self) -> str:
        return version("scikit-learn")

    def listing(self, split: Split) -> Listing | None:
        """All images; the test split is held out of them."""
        return Listing(_DIGITS, _DIGITS, frozenset(), [], _read_digits) if split == "train" else None


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
