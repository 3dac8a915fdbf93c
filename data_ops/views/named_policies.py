"""View policies by name, or from the fields that a user gives: one ``ViewPolicy``, or one for each view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Literal

from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.views.policy import ViewPolicy, simclr_policy

Mode = Literal["exact", "affine"]
_NO_COLOUR = {"jitter": 0.0, "grayscale": 0.0}
_WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
_MOCO = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
_BYOL = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}

# Name -> the differences from SimCLR's policy at strength 1 with blur: once for every view, or once per view.
_FULL: Mapping[str, tuple[Mapping[str, Any], ...]] = MappingProxyType(
    {
        "simclr-imagenet": ({},),
        "moco-v2": ({**_MOCO, "scale": (0.2, 1.0)},),  # Chen, Fan et al. 2020
        "byol": (
            {**_BYOL, "blur": 1.0},
            {**_BYOL, "blur": 0.1, "solarize": 0.2},
        ),  # Grill et al. 2020, table 6
        "supervised": ({**_NO_COLOUR, "blur": 0.0},),
        # Resize(256) and CenterCrop(224) at 224 pixels, and the same proportion at other sizes
        "evaluation": (
            {**_NO_COLOUR, "blur": 0.0, "flip": 0.0, "crop": "centre", "scale": (49 / 64, 49 / 64)},
        ),
    }
)
# Name -> the differences from SimCLR's policy at this size. All of them keep the flip.
_BY_SIZE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "simclr": {},
        "crop": {**_NO_COLOUR, "blur": 0.0},
        "crop-blur": {**_NO_COLOUR, "blur": 0.5},
        "colour": {**_WHOLE, "blur": 0.0},
        "colour-blur": {**_WHOLE, "blur": 0.5},
        "crop-colour": {"blur": 0.0},
        "crop-colour-blur": {"blur": 0.5},
    }
)
POLICIES = ("simclr", "simclr-imagenet", "simclr-cifar", *list(_FULL)[1:], *list(_BY_SIZE)[1:])
_SET_ELSEWHERE = ("size", "mode")
_PAIRS = ("scale", "ratio", "blur_sigma")


def named_policy(name: str, size: int, mode: Mode = "exact") -> tuple[ViewPolicy, ...]:
    """The policy of this name for views of ``size`` pixels: one for every view, or one per view.

    - ``simclr``: strength 0.5 without blur up to 64 pixels, else strength 1 with blur. ``simclr-cifar`` is
      the first and ``simclr-imagenet`` the second, at any size.
    - ``moco-v2``: MoCo v2's.
    - ``byol``: BYOL's, in which the two views differ in blur and solarisation.
    - ``supervised``: crop and flip.
    - ``evaluation``: resize and centre crop, without randomness.
    - ``crop``, ``colour``, ``crop-colour``, and each with ``-blur``: only these operations of SimCLR's policy
      at this size, and the flip.

    Raises:
        DataError: The name is not one of ``POLICIES``.
    """
    if name == "simclr-cifar":
        return (simclr_policy(size, strength=0.5, blur=False, mode=mode),)
    if name in _FULL:
        full = simclr_policy(size, strength=1.0, blur=True, mode=mode)
        return tuple(replace(full, **change) for change in _FULL[name])
    if name in _BY_SIZE:
        return (replace(simclr_policy(size, mode=mode), **_BY_SIZE[name]),)
    raise DataError(f"no view policy {name!r}{nearest(name, POLICIES)}; use one of {', '.join(POLICIES)}")


def view_policies(
    given: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]], size: int, mode: Mode = "exact"
) -> tuple[ViewPolicy, ...]:
    """The policies that a user's text means.

    Args:
        given: A name, fields (see ``policy_from_fields``), or a list of these with one for each view.
        size: The side of a view in pixels.
        mode: The mode of the colour jitter.

    Returns:
        One policy for every view, or one per view.

    Raises:
        DataError: A name or field is unknown, or a value is not valid.
    """
    if isinstance(given, str):
        return named_policy(given, size, mode)
    if isinstance(given, Mapping):
        return policy_from_fields(given, size, mode)
    if not isinstance(given, Sequence) or not given:
        raise DataError(f"views are {given!r}; give a name, fields, or a list of these with one per view")
    policies: list[ViewPolicy] = []
    for number, one in enumerate(given, 1):
        if not isinstance(one, str | Mapping):
            raise DataError(f"views: view {number} is {one!r}; give a name or fields")
        alike = view_policies(one, size, mode)
        if len(alike) > 1:
            raise DataError(
                f"views: view {number} is {one!r}, which is a policy for {len(alike)} views itself; "
                "give one for a single view"
            )
        policies.extend(alike)
    return tuple(policies)


def policy_from_fields(given: Mapping[str, Any], size: int, mode: Mode = "exact") -> tuple[ViewPolicy, ...]:
    """A named policy, ``base`` (``simclr`` by default), with different values for some fields.

    The fields are those of ``ViewPolicy`` except size and mode. Intervals are lists of two numbers.

    Raises:
        DataError: A field is unknown, or a value has the wrong type or is out of range.
    """
    values = dict(given)
    base = values.pop("base", "simclr")
    if not isinstance(base, str):
        raise DataError(f"views: base is {base!r}; give the name of a policy: {', '.join(POLICIES)}")
    known = [f.name for f in fields(ViewPolicy) if f.name not in _SET_ELSEWHERE]
    changes = {}
    for name, value in values.items():
        if name in _SET_ELSEWHERE:
            raise DataError(f"views: {name} cannot be set here; remove it, since the training sets it")
        if name not in known:
            raise DataError(
                f"views: no field {name!r}{nearest(str(name), known)}; use base, {', '.join(known)}"
            )
        changes[name] = _checked(name, value)
    return tuple(replace(policy, **changes) for policy in named_policy(base, size, mode))


def _checked(name: str, value: Any) -> Any:
    if name in _PAIRS:
        if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)):
            return tuple(float(v) for v in value)
        raise DataError(f"views: {name} is {value!r}; give two numbers, [low, high]")
    if name == "crop":
        return value  # ViewPolicy checks it
    if name == "blur_kernel":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise DataError(f"views: blur_kernel is {value!r}; give an odd whole number of pixels")
    if not _is_number(value):
        raise DataError(f"views: {name} is {value!r}; give a number")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
