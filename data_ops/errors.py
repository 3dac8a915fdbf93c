"""The one error of this package for input that cannot be used."""

from __future__ import annotations


class DataError(Exception):
    """Images, labels, policies or sizes that cannot be used; the message says what, where and what to do."""
