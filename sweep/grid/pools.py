"""Pools of datasets: equal shares, given shares, or given sizes (the study's 250k + 250k)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ssl_sweep.data_ops.dataset.subsets import equal_shares, given_shares
from ssl_sweep.sweep.grid.sizes import Size, parse_size


@dataclass(frozen=True)
class Pool:
    """Datasets to pretrain on together, in the order of their names."""

    names: tuple[str, ...]
    sizes: tuple[Size, ...] = ()
    """Shares or numbers of images; empty for equal shares."""

    @property
    def counted(self) -> bool:
        """Whether the pool itself fixes its number of images."""
        return bool(self.sizes) and self.sizes[0].kind == "count"

    @property
    def label(self) -> str:
        """``a+b``; ``shares_label`` has the shares."""
        return "+".join(self.names)

    @property
    def shares_label(self) -> str:
        """``75%+25%``, in the order of the names; empty for equal shares."""
        return "+".join(size.canonical for size in self.sizes)

    def largest(self, available: Mapping[str, int]) -> int:
        """The largest number of images of the pool, given the ``available`` training images of each
        dataset."""
        if self.counted:
            return sum(int(size.value) for size in self.sizes)
        if not self.sizes:
            return len(self.names) * min(available[name] for name in self.names)
        limits = (
            int(available[name] / size.value) for name, size in zip(self.names, self.sizes, strict=True)
        )
        return min(limits)

    def shares(self, total: int, order: tuple[str, ...]) -> dict[str, int]:
        """Number of images of each dataset.

        Args:
            total: images of the pool.
            order: names in the order in which equal shares are rounded up.

        Raises:
            ValueError: a dataset gets no image.
        """
        if not self.sizes:
            if total < len(self.names):
                raise ValueError(f"{self.label} is {total}; each needs at least 1")
            return dict(zip(order, equal_shares(total, len(order)), strict=True))
        if self.counted:
            return {name: int(size.value) for name, size in zip(self.names, self.sizes, strict=True)}
        weights = [float(size.value) for size in self.sizes]
        found = dict(zip(self.names, given_shares(total, weights), strict=True))
        for name, share in found.items():
            if share < 1:
                raise ValueError(f"{self.label} leaves {name!r} without an image; raise its share")
        return found


def parse_pool(value: object) -> Pool:
    """The pool that a grid writes as a name, a list of names, or a mapping to shares (75%) or sizes (250k).

    Raises:
        ValueError: it is something else, repeats a name, or has shares that do not add up to 100%.
    """
    if isinstance(value, Pool):
        return value
    if isinstance(value, str | int | float):
        return Pool((str(value),))
    if isinstance(value, Mapping) and value:
        sizes = {str(name): parse_size(size) for name, size in value.items()}
        names = tuple(sorted(sizes))
        kinds = {size.kind for size in sizes.values()}
        if kinds not in ({"count"}, {"share"}):
            raise ValueError("a pool's members need all sizes (250k) or all shares (75%)")
        if kinds == {"share"} and sum((size.value for size in sizes.values()), Fraction(0)) != 1:
            raise ValueError("the shares of a pool must add up to 100%")
        if kinds == {"share"} and len({size.value for size in sizes.values()}) == 1:
            return Pool(names)
        return Pool(names, tuple(sizes[name] for name in names))
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("a domain is a dataset's name, or a list of names (a pool)")
    if len(set(map(str, value))) < len(value):
        raise ValueError("a pool can name each dataset only once")
    return Pool(tuple(sorted(map(str, value))))
