"""Pickles read without executing anything in them.

The unpickler knows what a tensor of torch is. It replaces every other object (a path, a namespace, a whole
module) by an inert one that only remembers items and attributes, so such objects beside tensors do no harm.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import IO, Any

Shape = tuple[int, ...]

STORAGES = {
    "Double": ("float64", 8),
    "Float": ("float32", 4),
    "Half": ("float16", 2),
    "BFloat16": ("bfloat16", 2),
    "Long": ("int64", 8),
    "Int": ("int32", 4),
    "Short": ("int16", 2),
    "Char": ("int8", 1),
    "Byte": ("uint8", 1),
    "Bool": ("bool", 1),
}
"""torch's name of a type and the bytes of an element, by the name of its class of storages."""
_MARK = object()
_SAVE = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])
_LOAD = frozenset(["GET", "BINGET", "LONG_BINGET"])
_NOTHING = frozenset(["PROTO", "FRAME"])
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_DICTIONARIES = frozenset(["collections.OrderedDict", "collections.defaultdict", "builtins.dict"])
_TENSORS = frozenset(f"torch._utils._rebuild_tensor{end}" for end in ("", "_v2", "_v3"))
_PARAMETERS = frozenset(f"torch._utils._rebuild_parameter{end}" for end in ("", "_with_state"))


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file."""

    shape: Shape
    dtype: str = ""
    """torch's name of the type of its elements; "" if it is not known."""
    stride: Shape = ()
    offset: int = 0
    """Its first element in the storage."""
    storage: str = ""
    """The name of its storage in the file."""


@dataclass(eq=False)
class Inert:
    """Stands for a global, or for an object of an unknown type."""

    name: str
    """``module.name`` of the global or type."""
    content: dict[Any, Any] = field(default_factory=dict)
    """Its items and attributes."""


class Unpickler:
    """Reads one pickle: plain values, ``StoredTensor``, and ``Inert`` for everything else."""

    def __init__(self) -> None:
        self.item_bytes: dict[str, int] = {}
        """The bytes of an element of each storage, by the storage's name."""
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """The object of the pickle. Leaves the file behind it.

        Raises:
            ValueError, LookupError, TypeError: It is not a pickle, or a damaged one.
        """
        for operation, argument, _ in pickletools.genops(file):
            self._step(operation.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "STOP":
                return
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                n = int(name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            case "TUPLE" | "LIST" | "FROZENSET":
                stack.append(tuple(self._since_mark()))
            case "DICT":
                stack.append(_pairs(self._since_mark()))
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if name == "APPEND" else self._since_mark()
                if isinstance(stack[-1], list):
                    stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._since_mark()
                _content(stack[-1]).update(_pairs(items))
            case "BUILD":
                state = stack.pop()
                for part in state if isinstance(state, tuple) else (state,):  # attributes, and slots
                    if isinstance(part, dict) and isinstance(stack[-1], Inert):
                        stack[-1].content.update(part)
            case _:
                self._push(name, argument)

    def _push(self, name: str, argument: Any) -> None:
        """The operations that put an object on the stack."""
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _SAVE:
            self._memo[int(argument)] = stack[-1]
        elif name in _LOAD:
            stack.append(self._memo[int(argument)])
        elif name == "GLOBAL":
            stack.append(Inert(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            stack[-2:] = [Inert(f"{stack[-2]}.{stack[-1]}")]
        elif name in ("REDUCE", "NEWOBJ"):
            stack[-2:] = [_made(*stack[-2:])]
        elif name == "NEWOBJ_EX":
            stack[-3:] = [_made(*stack[-3:-1])]
        elif name in ("INST", "OBJ"):
            parts = self._since_mark()
            stack.append(Inert(argument.replace(" ", ".") if name == "INST" else _name(parts[0])))
        elif name == "BINPERSID":
            stack[-1:] = [self._storage(stack[-1])]
        elif argument is not None and name not in _NOTHING:
            stack.append(argument)  # a number, text or bytes
        elif name not in _NOTHING:
            raise ValueError(f"an operation {name}")

    def _since_mark(self) -> list[Any]:
        stack = self._stack
        at = next(i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def _storage(self, identity: tuple[Any, ...]) -> Any:
        """(name, element type) of the storage that a persistent id names; the class of a whole module."""
        what, kind, name = identity[:3]
        if what == "module":
            return kind
        if what != "storage" or (len(identity) > 5 and identity[5]):  # a view: only before version 0.4
            raise ValueError("an unknown reference")
        dtype, size = STORAGES.get(_name(kind).rpartition(".")[2].removesuffix("Storage"), ("", 1))
        self.item_bytes[str(name)] = size
        return str(name), dtype


def _made(called: Any, arguments: tuple[Any, ...]) -> Any:
    """What a call in a pickle stands for. Nothing is called."""
    name = _name(called)
    if name in _TENSORS:
        (storage, dtype), offset, shape, stride = arguments[:4]
        if name.endswith("_v3"):
            dtype = _name(arguments[6]).rpartition(".")[2]
        return StoredTensor(tuple(map(int, shape)), dtype, tuple(map(int, stride)), int(offset), storage)
    if name in _PARAMETERS:
        return arguments[0]
    if name in _DICTIONARIES:
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else ()
        return {pair[0]: pair[1] for pair in pairs}
    return Inert(name)


def _name(value: Any) -> str:
    return value.name if isinstance(value, Inert) else ""


def _content(value: Any) -> dict[Any, Any]:
    if isinstance(value, Inert):
        return value.content
    return value if isinstance(value, dict) else {}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))
