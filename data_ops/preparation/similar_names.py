"""Class names that are nearly equal: they look alike, and often one is a misspelling of the other."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.labels import ink
from ssl_sweep.data_ops.sources.options import SimilarNames

_ALIKE = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2018\u2019\u02bc",
    "ABEKMHOPCTYXIJS" + "aeopcyxijs" + "ABEZHIKMNOPTYXo" + "-------" + "'''",
)
"""Cyrillic and Greek letters, dashes and apostrophes that most fonts draw as the Latin or ASCII character."""
_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


@dataclasses.dataclass(frozen=True)
class SimilarPair:
    """Two names of a level, and what makes them differ."""

    level: str
    one: str
    other: str

    def __str__(self) -> str:
        return f"{self.one!r} and {self.other!r} differ only by {difference(self.one, self.other)}"


def similar_pairs(levels: Sequence[str], names: Sequence[Iterable[str]]) -> list[SimilarPair]:
    """The nearly equal class names of each level, side by side."""
    found = []
    for level, classes in zip(levels, names, strict=True):
        first: dict[str, str] = {}
        for name in classes:
            other = first.setdefault(_skeleton(name), name)
            if other != name:
                found.append(SimilarPair(level, other, name))
    return found


def check_similar(
    pairs: Iterable[SimilarPair],
    splits: Sequence[Mapping[str, Collection[str]]],
    similar_names: SimilarNames,
) -> None:
    """Check that nearly equal names differ on purpose: both splits have both, or the dataset says so.

    Args:
        pairs: What ``similar_pairs`` found.
        splits: The classes of each split, by level.
        similar_names: The dataset's setting.

    Raises:
        DataError: A name may be a misspelling of another; the message shows both.
    """
    for pair in pairs:
        if similar_names == "keep" or _in_all(pair, [split[pair.level] for split in splits]):
            continue
        raise DataError(
            f"{pair.level}: classes {pair}; give them one name, or set similar_names: keep if they differ on "
            "purpose"
        )


def _in_all(pair: SimilarPair, splits: Sequence[Collection[str]]) -> bool:
    """Whether both splits have both names."""
    return len(splits) > 1 and all(pair.one in split and pair.other in split for split in splits)


def difference(one: str, other: str) -> str:
    """What makes two nearly equal names differ, in words."""
    if one.lower() == other.lower():
        return "case"
    if ink(one) == ink(other):
        return f"blanks ({_blanks(one)}; {_blanks(other)})"
    if _ZEROS.sub("", one) == _ZEROS.sub("", other):
        return "leading zeros"
    if unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other):
        return f"Unicode form ({_odd(one, other)})"
    if one.translate(_ALIKE) == other.translate(_ALIKE):
        odd = sorted({*one} ^ {*other})
        return f"characters that look alike ({', '.join(map(_character, odd))})"
    return "a mixture of case, blanks, leading zeros, Unicode form and characters that look alike"


def _skeleton(name: str) -> str:
    """Equal for nearly equal names. Not ``casefold``, for which Masse and Maße are one word."""
    return _ZEROS.sub("", ink(unicodedata.normalize("NFKC", name).translate(_ALIKE)).lower())


def _blanks(name: str) -> str:
    found = [_character(char) for char in name if not ink(char)]
    return f"{name!r} has {', '.join(found)}" if found else f"{name!r} has none"


def _odd(one: str, other: str) -> str:
    return ", ".join(_character(char) for char in one + other if unicodedata.normalize("NFKC", char) != char)


def _character(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}"
