"""A plausible results table with known effects: hits drawn from latent skill, so that every number, interval
and verdict can be checked against what was put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import norm

from ssl_sweep.sweep.report.frame import read_results
from ssl_sweep.sweep.results.table import SCHEMA

RECIPE: Mapping[str, Any] = {
    "optimizer": "lars",
    "learning_rate": 4.0,
    "lr_scaling": "linear",
    "warmup_epochs": 6.0,
    "weight_decay": 1e-4,
    "temperature": 0.2,
    "head_layers": 2,
    "head_dim": 128,
    "strength": 0.5,
    "blur": False,
    "view_mode": "exact",
    "precision": "float32",
    "subset_draw": "uniform",
    "imbalance": 1.0,
    "views": "simclr",
    "momentum": 0.9,
    "momentum_encoder": 0.0,
    "queue": 0,
    "predictor_dim": 0,
    "grad_clip": 0.0,
    "lars_form": "official",
}
_UNTRAINED = ("random", "weights")
_LEVELS = (("label", 20), ("group", 5))


@dataclass
class Table:
    """Cells added one kind at a time; `seed_noise` is the spread of top-1 over pretraining seeds."""

    seed_noise: float = 0.004
    n_test: int = 2000
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        top1: float,
        *,
        seeds: Iterable[int] = (0, 1, 2),
        probe_seeds: Iterable[int] = (0,),
        levels: tuple[tuple[str, int], ...] = _LEVELS,
        coarser: float | tuple[float, ...] = 0.15,
        status: str = "complete",
        **columns: Any,
    ) -> Table:
        """One question with a row per pretraining seed, budget seed and level: expected top-1 at the finest
        level, and how much easier each coarser level is."""
        method = columns.get("method", "simclr")
        trained = method not in _UNTRAINED
        base: dict[str, Any] = {
            "method": method,
            "pretrain_domain": "scenes" if trained else "",
            "images": 4000 if trained else None,
            "corruption": "none" if trained else None,
            "encoder": "resnet-demo",
            "epochs": 60 if trained else None,
            "batch": 256 if trained else None,
            "subset_seed": 0 if trained else None,
            "eval_domain": "scenes",
            "n_labels": 1000,
            "draw": "uniform",
            "protocol": "linear",
            "image_size": 32,
            "eval_corruption": "none",
            "label_imbalance": 1.0,
            **(RECIPE if trained else {}),
            **columns,
        }
        base.setdefault("labels", str(base["n_labels"]))
        if trained and "steps" not in columns:
            base["steps"] = base["epochs"] * (base["images"] // base["batch"])
        if base["protocol"] == "fine-tune":
            base.setdefault("finetune_steps", 300)
        shown = sorted(f"{key}={value}" for key, value in base.items() if key not in ("labels",))
        for seed in seeds:
            pretrain_id = f"{hash_of(*[s for s in shown if _of_pretraining(s)], seed):08x}"
            for probe_seed in probe_seeds:
                cell = {**base, "pretrain_seed": seed, "probe_seed": probe_seed, "pretrain_id": pretrain_id}
                cell["cell_id"] = f"{hash_of(*shown, base['labels'], seed, probe_seed):08x}"
                self._add_levels(cell, top1, levels, coarser, status)
        return self

    def _add_levels(
        self,
        cell: dict[str, Any],
        top1: float,
        levels: tuple[tuple[str, int], ...],
        coarser: float | tuple[float, ...],
        status: str,
    ) -> None:
        easier = (0.0, *(coarser if isinstance(coarser, tuple) else [coarser] * (len(levels) - 1)))
        draw = np.random.default_rng(hash_of(cell["cell_id"]))
        shift = draw.normal(0, self.seed_noise)
        chance = draw.random(self.n_test)
        for index, (level, classes) in enumerate(levels):
            facts: dict[str, Any] = {
                "level": level,
                "level_index": index,
                "levels_total": len(levels),
                "train_level": levels[0][0],
                "n_classes": classes,
                "status": status,
                "n_test": self.n_test,
            }
            if status == "complete":
                wanted = float(np.clip(top1 + sum(easier[: index + 1]) + shift, 0.001, 0.999))
                facts |= _answers(wanted, chance, cell["eval_domain"])
            self.rows.append({**cell, **facts})

    def arrow(self) -> pa.Table:
        """The table as `sweep.results` gives it, with `hits`."""
        schema = SCHEMA
        for name, kind in (("hits", pa.binary()), *_LATER_TYPES):
            if name not in schema.names:
                schema = schema.append(pa.field(name, kind))
        return pa.Table.from_pylist([{"representation": "h", **row} for row in self.rows], schema=schema)

    def frame(self) -> pd.DataFrame:
        return read_results(self.arrow())


_LATER_TYPES = (
    ("representation", pa.string()),
    ("train_level", pa.string()),
    ("fused_with", pa.string()),
    ("fused_domain", pa.string()),
    ("fused_method", pa.string()),
    ("rankme", pa.float64()),
    ("train_seconds", pa.float64()),
    ("train_gpu", pa.bool_()),
    ("predicted_seconds", pa.float64()),
    ("predicted_from", pa.string()),
    ("levels_total", pa.int64()),
    ("n_classes", pa.int64()),
)
_EVALUATION = (
    "eval_domain",
    "n_labels",
    "protocol",
    "draw",
    "eval_corruption",
    "label_imbalance",
    "finetune",
)


def _of_pretraining(text: str) -> bool:
    return not text.startswith((*_EVALUATION, "fused", "representation"))


def _answers(top1: float, chance: np.ndarray, domain: str) -> dict[str, Any]:
    """Hits of about that share: half of what decides is how hard the image is, the same for every cell."""
    n = len(chance)
    hard = np.random.default_rng(hash_of(domain)).normal(size=n)
    latent = np.sqrt(0.5) * hard + np.sqrt(0.5) * norm.ppf(np.clip(chance, 1e-9, 1 - 1e-9))
    # of the domain's own images, so that the share is near `top1` and not off by the luck of the draw
    hits = latent < np.quantile(latent, top1)
    share = float(hits.mean())
    return {
        "top1": share,
        "top1_std_err": float(np.sqrt(share * (1 - share) / n)),
        "top5": min(1.0, share + 0.2),
        "balanced_accuracy": share,
        "hits": np.packbits(hits).tobytes(),
    }


def hash_of(*words: object) -> int:
    """A number that is the same in every process."""
    import zlib

    return zlib.crc32("|".join(map(str, words)).encode())
