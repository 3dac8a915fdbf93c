"""Grids of a line or two, expanded over a small catalogue without any image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ssl_sweep.data_ops.sources.registry import SyntheticSource
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.grid.load import check_grid
from ssl_sweep.sweep.grid.marked_yaml import YamlSource, parse_yaml
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.expand import expand, expand_all
from ssl_sweep.sweep.spec.specs import PrepareSpec


def info(name: str, train: int, size: int = 32, test: int = 100, fingerprint: str = "") -> DatasetInfo:
    return DatasetInfo(
        name=name,
        prepare=PrepareSpec(SyntheticSource(name, size=size), size, f"signature {name}"),
        prepare_id=f"prepare-{name}",
        fingerprint=fingerprint or f"fingerprint {name}",
        n_train=train,
        n_test=test,
        levels=("class",),
    )


CATALOG = {"a": info("a", 1000), "b": info("b", 600), "c": info("c", 300)}
DATASETS = "{" + ", ".join(f"{name}: {{source: synthetic, domain: objects}}" for name in CATALOG) + "}"


def cells(
    pretrain: str, evaluate: str, rest: str = "", catalog: Mapping[str, DatasetInfo] = CATALOG
) -> tuple[Cell, ...]:
    text = f"name: x\ndatasets: {DATASETS}\npretrain: {pretrain}\nevaluate: {evaluate}\n{rest}"
    return cells_of(parse_yaml(text, file="grid.yaml", folder=Path()), catalog)


def cells_of(source: YamlSource, catalog: Mapping[str, DatasetInfo] = CATALOG) -> tuple[Cell, ...]:
    grid, problems = check_grid(source)
    if problems:
        raise GridError(problems)
    return expand(grid, catalog)


def impossible(
    pretrain: str, evaluate: str, rest: str = "", catalog: Mapping[str, DatasetInfo] = CATALOG
) -> list[str]:
    text = f"name: x\ndatasets: {DATASETS}\npretrain: {pretrain}\nevaluate: {evaluate}\n{rest}"
    grid, problems = check_grid(parse_yaml(text, file="grid.yaml", folder=Path()))
    assert problems == []
    return [str(problem) for problem in expand_all(grid, catalog)[1]]
