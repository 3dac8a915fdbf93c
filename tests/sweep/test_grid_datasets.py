"""Every source can be named in a grid, and its paths are resolved."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest

from data_ops.sources import Source
from sweep.errors import GridError
from sweep.grid import Grid, load_grid
from sweep.grid_datasets import DATASETS

ENTRIES: dict[str, dict[str, Any]] = {
    "synthetic": {"domain": "objects"},
    "digits": {},
    "parquet": {"train": "a.parquet", "levels": ["fine", "coarse"], "group": "scene", "hierarchy": "h.json"},
    "folder": {"train": "a", "unlabelled": "b", "group": "/(.*)-", "on_bad_image": "skip"},
    "csv": {"train": "a.csv", "path": "file", "levels": "kind", "split": "side"},
    "npz": {"train": "a.npz", "test": "b.npz", "image": "x", "label": "y"},
    "webdataset": {"train": "a-{000..012}.tar", "levels": ["fine", "coarse"]},
    "torchvision": {"name": "CIFAR100", "root": "data"},
    "tiny-imagenet": {"root": "data"},
    "imagenet": {"root": "data", "hierarchy": "h.csv"},
    "inat21": {"root": "data", "variant": "mini"},
    "places365": {"root": "data"},
    "geolifeclef": {"root": "data", "train": "labels.csv", "test_fraction": 0.2},
}


def grid_of(tmp_path: Path, **entry: Any) -> Grid:
    lines = "".join(f"    {key}: {value!r}\n" for key, value in entry.items())
    path = tmp_path / "grid.yaml"
    path.write_text(
        f"name: x\ndatasets:\n  a:\n{lines}"
        "pretrain: {domain: a, images: 5}\nevaluate: {domain: a, labels: 5}\n"
    )
    return load_grid(path)


@pytest.mark.parametrize("name", DATASETS)
def test_a_source_by_its_name(tmp_path: Path, name: str) -> None:
    source = grid_of(tmp_path, source=name, **ENTRIES[name]).datasets["a"].value.to_source()
    for key, given in ENTRIES[name].items():
        found = getattr(source, key)
        if key in DATASETS[name].paths:
            assert found == str(tmp_path / given)
        else:
            assert found == (
                tuple(given) if isinstance(given, list) else (given,) if key == "levels" else given
            )


def test_every_source_and_every_field_of_it_is_there() -> None:
    assert {model.kind for model in DATASETS.values()} == set(get_args(Source))
    for model in DATASETS.values():
        fields = {field.name: field for field in dataclasses.fields(model.kind)}
        described = set(model.model_fields) - {"source", "size", "expect"}
        assert described == set(fields) - {"size"}
        assert set(model.paths) <= described
        for name in described:  # the same default in both, or none
            default = fields[name].default
            known = model.model_fields[name]
            assert known.is_required() == (default is dataclasses.MISSING)
            assert known.is_required() or known.default == default


def test_addresses_stay_and_variables_are_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "s3://mine")
    entry = grid_of(tmp_path, source="npz", train="${BUCKET}/a.npz", test="https://x.org/b.npz").datasets["a"]
    source: Any = entry.value.to_source()
    assert (source.train, source.test) == ("s3://mine/a.npz", "https://x.org/b.npz")


def test_what_a_source_has_no_use_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="unknown key 'test_fraction'"):
        grid_of(tmp_path, source="imagenet", root="x", test_fraction=0.5)
    with pytest.raises(GridError, match=r"on_bad_image: no 'skp' \(did you mean 'skip'"):
        grid_of(tmp_path, source="folder", train="x", on_bad_image="skp")
    with pytest.raises(GridError, match="no source 'foldr'"):
        grid_of(tmp_path, source="foldr", train="x")


def test_an_address_with_a_password_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "https://anna:planted@example.org/a")
    with pytest.raises(GridError) as error:
        grid_of(tmp_path, source="csv", train="${WHERE}/train.csv")
    assert "with a user or password in it" in str(error.value) and "planted" not in str(error.value)
