"""Grids of a line or two, expanded over a small catalogue without any image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_ops.sources import SyntheticSource
from sweep.catalog import DatasetInfo
from sweep.cells import Cell
from sweep.errors import GridError
from sweep.expand import expand, expand_all
from sweep.grid import check_grid
from sweep.specs import PrepareSpec
from sweep.yaml_source import YamlSource, parse_yaml


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
