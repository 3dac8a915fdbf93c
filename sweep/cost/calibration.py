"""Rates that were measured on purpose: records of the store, one for each shape of a training.

rates/<hash of the shape>.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.sweep.spec.identity import short_hash
from ssl_sweep.sweep.store.records import Storage

_FOLDER = "rates"


@dataclass(frozen=True, kw_only=True, order=True)
class Shape:
    """What decides how long a step takes. `batch` is one worker's part, in images; `device` is cpu (one core)
    or gpu and `hardware` its name."""

    method: str
    encoder: str
    image_size: int
    batch: int
    precision: str
    device: str
    hardware: str

    @property
    def label(self) -> str:
        """`simclr · resnet18 · 32 px · batch 256 · bfloat16`"""
        words = (self.method, self.encoder, f"{self.image_size} px", f"batch {self.batch}", self.precision)
        return " · ".join(words)


def shape_of(config: PretrainConfig, device: str, hardware: str, workers: int = 1) -> Shape:
    """The shape of a training of `config` on so many workers."""
    return Shape(
        method=config.method,
        encoder=config.encoder,
        image_size=config.image_size,
        batch=config.batch // workers,
        precision=config.precision,
        device=device,
        hardware=hardware,
    )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One measurement, in seconds: of a step, of what an epoch's end adds, of a checkpoint. `steps` were
    timed after the warm-up in each of `copies` trainings at once; `time` is ISO 8601 UTC."""

    shape: Shape
    step_s: float
    epoch_s: float
    checkpoint_s: float
    steps: int
    copies: int
    time: str


def calibrations(storage: Storage) -> Mapping[Shape, Calibration]:
    """Every calibration of a store; damaged records count as none."""
    found = {}
    for name in storage.names(_FOLDER):
        record = storage.read(f"{_FOLDER}/{name}")
        try:
            facts = json.loads(record.data) if record is not None else {}
            known = Calibration(**{**facts, "shape": Shape(**facts["shape"])})
        except (ValueError, KeyError, TypeError):
            continue
        found[known.shape] = known
    return found


def keep(storage: Storage, calibration: Calibration) -> None:
    """In place of an earlier calibration of the same shape. StoreError or OSError where it cannot be."""
    name = short_hash(json.dumps(asdict(calibration.shape), sort_keys=True))
    storage.put(f"{_FOLDER}/{name}.json", json.dumps(asdict(calibration)).encode())
