"""What an hour of a device costs: the grid's own figure, or a list price to be checked."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from ssl_sweep.sweep.cost.arithmetic import names
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.grid.schema import Compute


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars of one device for an hour (what currency the grid's own figure is in, the user knows);
    `spot` is None where it is not known, and
    `listed` says that nobody here has checked it."""

    on_demand: float
    source: str
    spot: float | None = None
    listed: bool = False


def price_of(compute: Compute, machine: Machine) -> Price | None:
    """Of one GPU, or one CPU core where networks run on CPUs; None for hardware that is not in the list."""
    if compute.price_per_hour is not None:
        return Price(on_demand=compute.price_per_hour, source="compute.price_per_hour")
    for row in _rows():
        if row["hardware"] == "cpu" if machine.device == "cpu" else names(row["hardware"], machine.hardware):
            return Price(
                on_demand=float(row["on_demand"]),
                spot=float(row["spot"]) if row["spot"] else None,
                listed=True,
                source=f"list price of {row['instance']}, {row['date']}, to be checked: {row['source']}",
            )
    return None


def _rows() -> list[dict[str, str]]:
    text = (files("ssl_sweep.sweep.cost") / "prices.csv").read_text()
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
