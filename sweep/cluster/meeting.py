"""Where the workers of one training find each other: by a file, where all are on this machine.

torch's own meeting point is a server that listens on every interface and asks for no password. Imported late,
as Ray is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    _set_torch_distributed_env_vars,
    _setup_torch_process_group,
    _TorchBackend,
)


@dataclass
class MeetByFile(TorchConfig):
    """`meeting` is a path at which nothing is yet."""

    meeting: str = ""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _ByFile


class _ByFile(_TorchBackend):
    """As its base, but for the address."""

    def on_start(self, worker_group: Any, backend_config: MeetByFile) -> None:
        worker_group.execute(_set_torch_distributed_env_vars)
        count = len(worker_group)
        facts = {"backend": backend_config.backend, "timeout_s": backend_config.timeout_s}
        facts |= {"world_size": count, "init_method": f"file://{backend_config.meeting}"}
        ray.get(
            [
                worker_group.execute_single_async(i, _setup_torch_process_group, world_rank=i, **facts)
                for i in range(count)
            ]
        )
