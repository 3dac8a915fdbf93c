"""What is in a file of weights: names, shapes and places of tensors, read without torch."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ssl_sweep.ssl_core.encoders.inert_pickle import Inert, StoredTensor, Unpickler

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors")
"""How files of weights are called; what is in them decides how they are read."""
_LEGACY_PICKLES = 4  # a magic number, a version, facts of the machine, and the content
_BIG_ENDIAN = "from a big-endian machine; save it again on one like this"
_MAX_HEADER = 100 << 20  # bytes; the limit of the safetensors library
_PARTS = frozenset(["_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"])  # of a module


class _RefusedError(Exception):
    """A file that is not read, with the reason as a sentence about the file."""


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, by their keys joined with dots.

    Raises:
        ValueError: The file is not one of torch.save or safetensors, is damaged, or has no tensors.
    """
    try:
        found = dict(_tensors(path))
    except _RefusedError as error:
        raise ValueError(f"weights: {path} {error}") from None
    except Exception as error:  # a damaged file can break any step of reading it
        raise ValueError(
            f"weights: {path} is not a readable file of tensors ({type(error).__name__}); save a state dict "
            "with torch.save"
        ) from error
    if not found:
        raise ValueError(f"weights: {path} has no tensors; save model.state_dict() with torch.save")
    return found


def _tensors(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    with path.open("rb") as file:
        start = file.read(9)
        file.seek(0)
        if start[8:] == b"{":
            yield from _safetensors(file)
        elif zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive, _opened(archive, f"{_root(archive)}/data.pkl") as content:
                yield from _named(Unpickler().run(content))
        else:
            file.seek(0)
            yield from _named(_legacy(file)[0])


def _safetensors(file: IO[bytes]) -> Iterator[tuple[str, StoredTensor]]:
    length = int.from_bytes(file.read(8), "little")
    if length > _MAX_HEADER:
        raise _RefusedError("is not a readable safetensors file; write it again")
    try:
        header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                yield name, StoredTensor(tuple(entry["shape"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _RefusedError("is not a readable safetensors file; write it again") from None


def _root(archive: zipfile.ZipFile) -> str:
    """The folder in a file of torch.save that has everything."""
    names = archive.namelist()
    root = next((name.rpartition("/")[0] for name in names if name.endswith("/data.pkl")), None)
    if root is None:
        raise _RefusedError("is an archive of something else; save a state dict with torch.save")
    if f"{root}/constants.pkl" in names:
        raise _RefusedError("is a TorchScript program; save model.state_dict() with torch.save")
    order = f"{root}/byteorder"
    if order in names and archive.read(order) != b"little":
        raise _RefusedError(f"is {_BIG_ENDIAN}")
    return root


def _opened(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member of a file of torch.save, which compresses none: a small one cannot fill the memory."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise _RefusedError("is compressed; save it again with torch.save")
    return archive.open(name)


def storages(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The content of some storages in a file of torch.save, by name.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        yield from _storages(path, wanted)
    except Exception as error:  # a damaged file can break any step of reading it
        kind = type(error).__name__
        raise ValueError(f"weights: {path} is damaged or cut short ({kind}); fetch it again") from error


def _storages(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                root = _root(archive)
                for name in wanted:
                    with _opened(archive, f"{root}/data/{name}") as content:
                        yield name, content.read()
            return
        file.seek(0)
        _, item_bytes = _legacy(file)
        for name in Unpickler().run(file):
            data = file.read(int.from_bytes(file.read(8), "little") * item_bytes[name])
            if name in wanted:
                yield name, data


def _legacy(file: IO[bytes]) -> tuple[Any, Mapping[str, int]]:
    """The content of a file of torch.save before version 1.6, and the bytes of an element of each storage."""
    for _ in range(_LEGACY_PICKLES - 1):
        machine = Unpickler().run(file)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise _RefusedError(f"is {_BIG_ENDIAN}")
    unpickler = Unpickler()
    return unpickler.run(file), unpickler.item_bytes


def _named(content: Any) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors in nested dictionaries and objects."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen: set[int] = set()
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, StoredTensor):
            yield ".".join(path), value
        inner = value.content if isinstance(value, Inert) else value
        if isinstance(inner, dict) and id(inner) not in seen:
            seen.add(id(inner))
            for key, one in reversed(inner.items()):
                waiting.append((path if key in _PARTS else (*path, str(key)), one))
