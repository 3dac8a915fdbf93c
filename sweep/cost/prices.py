"""The price of a device per hour: from the grid, or else a list price."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from ssl_sweep.sweep.cost.arithmetic import names
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.grid.schema import Compute


@dataclass(frozen=True, kw_only=True)
class Price:
    """The price of one device per hour."""

    on_demand: float
    """List prices are in US dollars; the grid's price is in any currency."""
    source: str
    """Where the price comes from, for the user."""
    spot: float | None = None
    """Price of an interruptible device; None if unknown."""
    listed: bool = False
    """Whether it is a list price, which may be out of date."""


def price_of(compute: Compute, machine: Machine) -> Price | None:
    """Return the price of one GPU, or of one CPU core if networks run on CPUs; None if it is unknown."""
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
