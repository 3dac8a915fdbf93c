"""Seeds and counter-based random numbers: every random value is a pure function of its coordinates."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]
Float64 = npt.NDArray[np.float64]

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's increment
_ODD = np.uint64(0xD1342543DE82EF95)  # keeps hash64(a, b) and hash64(b, a) apart


def derive_seed(*coordinates: str | int) -> int:
    """A 63-bit seed from named coordinates, for instance ``derive_seed("order", seed, epoch)``.

    Different values, a different order or a different type (1 or "1") give an unrelated seed. The seed is the
    same on every platform.
    """
    canonical = json.dumps(coordinates, ensure_ascii=True, separators=(",", ":")).encode()
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest(), "big") >> 1


def hash64(seed: int, *counters: npt.ArrayLike) -> UInt64:
    """A uint64 per element of the counters' common broadcast shape; scalars give a 0-d array.

    The splitmix64 finaliser (Steele et al. 2014; Stafford's mix 13) is chained over seed and counters: a
    value depends on its coordinates only, not on how many others are drawn.

    Args:
        seed: The stream's seed.
        counters: Integers; negative ones count modulo 2**64. Give the counters of the largest shape last:
            each step then works on the smallest possible array.

    Raises:
        TypeError: A counter is not an integer.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
        state = _mix(np.asarray(seed & _MASK, dtype=np.uint64) + _GOLDEN)
        for counter in counters:
            state = _mix(state * _ODD + _mix(_as_uint64(counter) + _GOLDEN))
    return np.asarray(state, dtype=np.uint64)


def uniform(seed: int, *counters: npt.ArrayLike) -> Float64:
    """Uniform float64 in [0, 1) with 53 random bits, one per element of the counters' broadcast shape."""
    return np.asarray((hash64(seed, *counters) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _as_uint64(counter: npt.ArrayLike) -> UInt64:
    if isinstance(counter, int):
        return np.asarray(counter & _MASK, dtype=np.uint64)
    values = np.asarray(counter)
    if values.dtype.kind not in "iu":
        raise TypeError(f"hash64 takes integer counters, not {values.dtype}")
    return values.astype(np.uint64)


def _mix(x: UInt64) -> UInt64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
