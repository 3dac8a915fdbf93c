"""Addresses of object stores: fetched once, fetched again when they change, and named when they fail."""

from __future__ import annotations

import shutil

import fsspec
import numpy as np
import pytest
from image_files import npz_of, shards_of

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources import remote
from ssl_sweep.data_ops.sources.registry import (
    CsvSource,
    NpzSource,
    ParquetSource,
    WebDatasetSource,
    inspect,
    iterate,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def store():
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


@pytest.fixture
def fetched(monkeypatch):
    names: list[str] = []
    download = remote._download

    def counted(fs, path, target, where, size):
        names.append(where)
        download(fs, path, target, where, size)

    monkeypatch.setattr(remote, "_download", counted)
    return names


def test_single_files_are_fetched_once(rows, parquet, store, fetched, tmp_path):
    here = parquet(rows)
    store.put_file(here, "/bucket/train.parquet")
    source = ParquetSource("memory://bucket/train.parquet")
    there = inspect(source)
    assert there.n_train == 40
    assert prepare(source, 16, tmp_path / "a") == prepare(ParquetSource(here), 16, tmp_path / "b")
    assert fetched == ["memory://bucket/train.parquet"]


def test_the_signature_is_that_of_the_address(rows, parquet, store, fetched, tmp_path, monkeypatch):
    store.put_file(parquet(rows), "/bucket/x.parquet")
    source = ParquetSource("memory://bucket/x.parquet")
    before = inspect(source).signature
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(tmp_path / "another node"))
    assert inspect(source).signature == before
    store.put_file(parquet(rows[:20]), "/bucket/x.parquet")
    assert inspect(source).signature != before and inspect(source).n_train == 20
    assert len(fetched) == 3


def test_folders_globs_and_shards(rows, parquet, store, tmp_path):
    for i in range(2):
        store.put_file(parquet(rows[20 * i : 20 * i + 20]), f"/bucket/set/part{i}.parquet")
    for where in ("memory://bucket/set", "memory://bucket/set/*.parquet"):
        assert inspect(ParquetSource(where)).n_train == 40
    shards_of(rows, tmp_path)
    for i in range(2):
        store.put_file(str(tmp_path / f"set-0{i}.tar"), f"/bucket/set-0{i}.tar")
    assert inspect(WebDatasetSource("memory://bucket/set-{00..01}.tar")).n_train == 40
    store.put_file(npz_of(rows, tmp_path / "x.npz"), "/bucket/x.npz")
    assert inspect(NpzSource("memory://bucket/x.npz", levels=("label", "group"))).n_train == 40


def test_a_remote_table_and_its_images(rows, store):
    lines = "".join(f"images/{i}.png,{fine}\n" for i, (_, fine, _) in enumerate(rows[:4]))
    store.pipe("/bucket/x.csv", b"path,label\n" + lines.encode())
    for i, (data, _, _) in enumerate(rows[:3]):
        store.pipe(f"/bucket/images/{i}.png", data)
    read = list(iterate(CsvSource("memory://bucket/x.csv"), "train"))
    assert read[2].decode().shape == (20, 20, 3)
    with pytest.raises(DataError, match=r"memory://bucket/images/3\.png: cannot be fetched"):
        read[3].decode()


def test_what_cannot_be_fetched_is_named(store, tmp_path, cache):
    for where, message in (
        ("memory://bucket/gone.npz", "cannot be fetched"),
        ("nostore://bucket/x.npz", "nostore://bucket/x.npz: cannot be opened"),
    ):
        with pytest.raises(DataError, match=message):
            inspect(NpzSource(where))
    with pytest.raises(DataError, match=r"no \.parquet files here"):
        store.pipe("/bucket/x.txt", b"")
        inspect(ParquetSource("memory://bucket/*.parquet"))


def test_half_a_download_is_never_used(rows, store, cache, tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8))
    store.put_file(str(tmp_path / "x.npz"), "/bucket/x.npz")
    whole = type(store).get_file

    def half(self, path, target, **kwargs):
        whole(self, path, target, **kwargs)
        with open(target, "r+b") as file:
            file.truncate(100)

    monkeypatch.setattr(type(store), "get_file", half)
    with pytest.raises(DataError, match=r"100 of .* bytes arrived; try again"):
        inspect(NpzSource("memory://bucket/x.npz"))
    monkeypatch.setattr(type(store), "get_file", whole)
    assert inspect(NpzSource("memory://bucket/x.npz")).n_train == 2
    assert not list(cache.rglob(".partial-*"))


def test_an_emptied_cache_is_filled_again(rows, parquet, store, cache):
    store.put_file(parquet(rows), "/bucket/x.parquet")
    before = inspect(ParquetSource("memory://bucket/x.parquet"))
    shutil.rmtree(cache)
    assert inspect(ParquetSource("memory://bucket/x.parquet")) == before


def test_only_a_scheme_makes_an_address(monkeypatch):
    assert remote.is_remote("s3://a/b") and remote.is_remote("gs://a")
    assert not remote.is_remote("/a/b") and not remote.is_remote("a:b") and not remote.is_remote("C:\\a")
    monkeypatch.delenv("SSL_SWEEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(remote.sys, "platform", "linux")
    assert str(remote.cache_root()) == "/somewhere/ssl-sweep"
