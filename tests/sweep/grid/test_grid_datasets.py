"""Every source can be named in a grid, and its paths are resolved."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.data_ops.sources.registry import SOURCES
from ssl_sweep.sweep.errors import GridError, StoreError
from ssl_sweep.sweep.grid.datasets import DATASETS
from ssl_sweep.sweep.grid.load import Grid, load_grid
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.addresses import masked

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
    assert [model.kind for model in DATASETS.values()] == list(SOURCES.values())
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


def test_a_path_with_a_nul_character_is_refused_at_its_line(tmp_path: Path) -> None:
    text = 'name: x\ndatasets:\n  a: {source: folder, train: "a\\0b", test: c}\n'
    (tmp_path / "grid.yaml").write_text(text + "pretrain: [{domain: a, images: 10}]\n")
    with pytest.raises(GridError, match=r"grid\.yaml:3:30: .*holds a NUL character"):
        load_grid(tmp_path / "grid.yaml")


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
    assert "the address holds a user or a password" in str(error.value) and "planted" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:ab/cdplanted@bucket/t.npz",
        "s3://AKIA:12/cdplanted@bucket/t.npz",
        "https://me:planted@example.org/t.npz",
        "https://acct.blob.core.windows.net/c/t.npz?sv=2024&sig=planted",
        "https://b.s3.amazonaws.com/t.npz?X-Amz-Date=1&X-Amz-Signature=planted",
        "https://b.s3.amazonaws.com/t.npz?x-amz-security-token=planted",
        "https://b.s3.amazonaws.com/t.npz?AWSAccessKeyId=planted&Expires=1",
        "https://storage.googleapis.com/b/t.npz?X-Goog-Signature=planted",
        "https://example.org/t.npz?Signature=planted",
        "https://example.org/t.npz?a=1&token=planted",
        "https://example.org/t.npz?X%2DAmz%2DSignature=planted",
    ],
)
def test_a_secret_in_an_address_is_refused_at_its_line_and_not_repeated(tmp_path: Path, address: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(f"name: q\ndatasets:\n  o:\n    source: npz\n    train: '{address}'\n{BLOCKS}")
    with pytest.raises(GridError) as error:
        load_grid(path)
    assert "grid.yaml:5:" in str(error.value) and "kept with every result" in str(error.value)
    path.write_text(f"name: q\ndatasets:\n  o:\n    source: npz\n    train: x\n{BLOCKS}")
    with pytest.raises(GridError) as override:
        load_grid(path, [f"datasets.o.train={address}"])
    for said in (str(error.value), str(override.value), masked(f"cannot fetch {address}: no")):
        assert "planted" not in said
    with pytest.raises(StoreError) as store:
        Store(address)
    assert "planted" not in store.value.report()


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a@b/t.npz",
        "s3://bucket/at:10@b/t.npz",
        "https://example.org:8080/a@b/t.npz",
        "http://[::1]:80/a@b.npz",
        "https://example.org/t.npz?version=3&config=1",
    ],
)
def test_an_address_without_a_secret_is_taken(tmp_path: Path, address: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(f"name: q\ndatasets:\n  o: {{source: npz, train: '{address}'}}\n{BLOCKS}")
    assert load_grid(path).datasets["o"].value.train == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://[", "'http://[' is not a valid address: Invalid IPv6 URL"),
        ("s3://[bucket]/x", "'s3://[bucket]/x' is not a valid address"),
        ("x-{1..99999999}.tar", "stands for more than 1,000,000 files"),
        ("x-{0..999}-{0..9999}.tar", "stands for more than 1,000,000 files"),
        (f"x-{{1..{'9' * 5000}}}.tar", "stands for more than 1,000,000 files"),
    ],
)
def test_an_address_that_is_none_and_braces_without_end_are_refused(
    tmp_path: Path, address: str, said: str
) -> None:
    with pytest.raises(GridError) as error:
        grid_of(tmp_path, source="webdataset", train=address)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["x-{000..012}.tar", "x-{000000000000000000000001..12}.tar", "{a,b}.tar"])
def test_braces_are_taken(tmp_path: Path, name: str) -> None:
    grid_of(tmp_path, source="webdataset", train=name)


BLOCKS = "pretrain:\n  - {method: random}\nevaluate:\n  - {domain: o, labels: 5}\n"
