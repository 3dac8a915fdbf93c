"""The one error of this package for input that cannot be used."""

from __future__ import annotations


class DataError(Exception):
    """Images, labels, policies or sizes that cannot be used; the message says what, where and what to do."""


class BadImageError(DataError):
    """An image whose bytes were read and are no good. `content` is their hash, the same under any name."""

    def __init__(self, message: str, content: str = "") -> None:
        super().__init__(message)
        self.content = content
