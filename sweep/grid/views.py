"""The `views` of a grid: a policy's name, fields of one's own, or a list with one of these for each view."""

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
    """A policy as written in the grid, in one spelling: a name, or JSON with sorted keys."""

    text: str

    def policies(self, size: int, mode: Mode) -> tuple[ViewPolicy, ...]:
        """One policy for every view or one for each; DataError where it does not suit images of this size."""
        value = json.loads(self.text) if self.text[0] in "{[" else self.text
        return view_policies(value, size, mode)


def parse_views(value: Any) -> ViewChoice:
    """ValueError, naming the nearest policy or field, for what is no policy."""
    if isinstance(value, ViewChoice):
        return value
    try:
        view_policies(value, 32)
    except DataError as error:
        raise ValueError(str(error)) from None
    return ViewChoice(value if isinstance(value, str) else json.dumps(_plain(value), sort_keys=True))


@lru_cache(maxsize=1024)
def policy_name(policies: tuple[ViewPolicy, ...]) -> str:
    """The first of the named policies that these are, else `custom`."""
    size, mode = policies[0].size, policies[0].mode
    return next((name for name in POLICIES if named_policy(name, size, mode) == policies), "custom")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
