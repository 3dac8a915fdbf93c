"""The ``views`` of a grid: the name of a policy, a mapping of fields, or a list with one of these for each
view."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.named_policies import POLICIES, Mode, named_policy, view_policies
from ssl_sweep.data_ops.views.policy import ViewPolicy


@dataclass(frozen=True)
class ViewChoice:
    """View policies as the grid writes them."""

    text: str
    """A name, or JSON with sorted keys."""

    def policies(self, size: int, mode: Mode) -> tuple[ViewPolicy, ...]:
        """One policy for every view, or one for each. Raises DataError if it does not suit this image
        size."""
        value = json.loads(self.text) if self.text[0] in "{[" else self.text
        return view_policies(value, size, mode)


def parse_views(value: Any) -> ViewChoice:
    """The views that a grid writes. Raises ValueError, with the nearest policy or field, for anything
    else."""
    if isinstance(value, ViewChoice):
        return value
    try:
        view_policies(value, 32)
    except DataError as error:
        raise ValueError(str(error)) from None
    return ViewChoice(value if isinstance(value, str) else json.dumps(_with_text_keys(value), sort_keys=True))


@lru_cache(maxsize=1024)
def policy_name(policies: tuple[ViewPolicy, ...]) -> str:
    """The name of these policies, or ``custom`` if they have no name."""
    size, mode = policies[0].size, policies[0].mode
    return next((name for name in POLICIES if named_policy(name, size, mode) == policies), "custom")


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list | tuple) else value
