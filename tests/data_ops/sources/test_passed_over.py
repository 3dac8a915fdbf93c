"""What counts as an image, and what is passed over: the same in every source, and nothing is uncounted."""

from __future__ import annotations

import builtins
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import write_tar
from PIL import Image

from ssl_sweep.data_ops.dataset.passed_over import PassedOver, lost, too_many
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.check import Scanned, check_dataset
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.sources.image_kinds import IMAGE_SUFFIXES, JUNK, kind_of, starts_as_image
from ssl_sweep.data_ops.sources.labels import MISSING
from ssl_sweep.data_ops.sources.registry import (
    FolderSource,
    ParquetSource,
    WebDatasetSource,
    inspect,
    iterate,
    open_source,
)


def image(i: int, kind: str = "PNG") -> bytes:
    """The i-th of distinct 16-px images."""
    pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """12 training images each of cats and dogs, and 6 test images."""
    for split, n in (("train", 12), ("test", 6)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                (folder / f"{i}.png").write_bytes(image(i + 100 * len(name + split) + (name == "dog") * 50))
    return tmp_path / "pets"


def source_of(pets: Path) -> FolderSource:
    return FolderSource(str(pets / "train"), str(pets / "test"))


def counts(source: FolderSource | WebDatasetSource | ParquetSource) -> dict[str, int]:
    return {one.reason: one.n for one in inspect(source).passed_over}


def findings(source: FolderSource | WebDatasetSource | ParquetSource) -> dict[str, bool]:
    """Kind → whether it is a problem, of what a check finds."""
    found = check_dataset(Scanned(name="pets", source=source, splits=scan(source)))
    return {one.kind: one.severe for one in found}


KINDS = {".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF", ".jp2": "JPEG2000", ".PNG": "PNG", ".qoi": "QOI"}


def test_every_suffix_of_an_image_is_one(pets: Path, tmp_path: Path) -> None:
    for i, (suffix, kind) in enumerate(KINDS.items()):
        (pets / "train" / "cat" / f"more{i}{suffix}").write_bytes(image(1000 + i, kind))
    assert inspect(source_of(pets)).n_train == 24 + len(KINDS)
    assert not counts(source_of(pets))
    files = [(f"{i}{suffix}", image(i, kind)) for i, (suffix, kind) in enumerate(KINDS.items())]
    files += [(f"{i}.cls", b"cat" if i % 2 else b"dog") for i in range(len(KINDS))]
    shard = WebDatasetSource(write_tar(tmp_path / "x.tar", files))
    assert (inspect(shard).n_train, inspect(shard).n_labeled) == (len(KINDS), len(KINDS))


def test_what_pillow_opens_has_a_known_suffix() -> None:
    from ssl_sweep.data_ops.sources.decode import formats

    Image.init()
    opened = {suffix for suffix, kind in Image.registered_extensions().items() if kind in formats()}
    assert not opened - IMAGE_SUFFIXES


@pytest.mark.parametrize("place", ["folder", "tar"])
def test_a_heic_is_an_image_that_cannot_be_read(pets: Path, tmp_path: Path, place: str) -> None:
    (pets / "train" / "cat" / "x.heic").write_bytes(b"")
    source: FolderSource | WebDatasetSource = source_of(pets)
    if place == "tar":
        files = [("a.png", image(0)), ("a.cls", b"cat"), ("x.heic", b""), ("x.cls", b"dog")]
        source = WebDatasetSource(write_tar(tmp_path / "x.tar", files))
    (bad,) = scan(source)[0].bad
    assert "x" in bad.name and "pillow-heif" in bad.reason


def test_links_to_folders_are_followed_and_cycles_are_cut(pets: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (pets / "train" / "cat").rename(elsewhere)
    (pets / "train" / "cat").mkdir()
    (pets / "train" / "cat" / "half").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(pets / "train" / "cat")
    (elsewhere / "self").symlink_to(elsewhere)
    source = source_of(pets)
    assert inspect(source).n_train == 24
    assert counts(source) == {"links to a folder that is read already": 2}
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "a").symlink_to(elsewhere)
    more = FolderSource(str(pets / "train"), str(pets / "test"), unlabelled=str(tmp_path / "many"))
    assert (inspect(more).n_train, inspect(more).n_labeled) == (36, 24)


def test_links_that_lead_to_themselves_are_counted(pets: Path) -> None:
    for name in ("loop", "cat/loop", "cat/loop.txt"):
        (pets / "train" / name).symlink_to(pets / "train" / name)
    assert counts(source_of(pets)) == {"files without a suffix": 2, "'.txt' files": 1}
    (pets / "train" / "cat" / "loop.png").symlink_to("loop.png")
    assert inspect(source_of(pets)).n_train == 25
    with pytest.raises(DataError, match=r"loop\.png: cannot be read"):
        list(map(lambda raw: raw.decode(), iterate(source_of(pets), "train")))


def test_a_link_out_of_a_class_folder_does_not_bring_in_the_other_classes(pets: Path) -> None:
    (pets / "train" / "cat" / "up").symlink_to("..")
    (pets / "train" / "cat" / "top").symlink_to("../..")
    assert open_source(source_of(pets)).labels("train") == {"cat": 12, "dog": 12}
    assert counts(source_of(pets)) == {"links to a folder that is read already": 2}


def test_loose_images_beside_the_class_folders_are_a_problem(pets: Path) -> None:
    (pets / "train" / "a.png").write_bytes(image(1))
    (pets / "train" / "labels.csv").write_text("a")
    source = source_of(pets)
    assert counts(source) == {"images beside the class folders": 1, "'.csv' files": 1}
    assert findings(source)["passed over"]


def test_junk_is_counted_and_no_problem(pets: Path) -> None:
    cat = pets / "train" / "cat"
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (cat / name).write_bytes(b"x")
    for name in ("@eaDir", ".ipynb_checkpoints", "lost+found", ".thumbnails"):
        (cat / name).mkdir()
        (cat / name / "0.png").write_bytes(image(0))
    (pets / "train" / "__MACOSX").mkdir()
    source = source_of(pets)
    assert inspect(source).n_train == 24
    assert counts(source) == {
        "files that Windows leaves behind": 2,
        "files that macOS leaves behind": 2,
        "folders of a NAS system": 1,
        "folders of the system": 1,
        "hidden files": 4,
    }
    assert not findings(source)["passed over"]


@pytest.mark.parametrize("name", ["store", "report"])
def test_the_programs_own_output_is_never_an_image(pets: Path, name: str) -> None:
    own = pets / "train" / name
    own.mkdir()
    marks = [".ssl-sweep-store"] if name == "store" else ["report.html", "findings.md", "results.parquet"]
    for mark in [*marks, "images.png"]:
        (own / mark).write_bytes(image(0) if mark == "images.png" else b"")
    before = inspect(source_of(pets))
    assert before.n_train == 24
    assert [one.reason for one in before.passed_over] == ["stores and reports of this program"]
    (own / "more").mkdir()
    (own / "more" / "images.png").write_bytes(image(1))
    assert inspect(source_of(pets)) == before
    unlabelled = FolderSource(str(pets / "train"), str(pets / "test"), unlabelled=str(pets / "train"))
    assert inspect(unlabelled).n_train == 48


def test_files_of_unknown_names_are_recognised_by_their_first_bytes(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = pets / "train" / "cat"
    for i, kind in enumerate(("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "AVIF", "PPM")):
        (cat / f"unknown{i}").write_bytes(image(i, kind))
        (cat / f"large{i}.jpg_large").write_bytes(image(20 + i, kind))
    (cat / "README").write_text("Pictures of cats")
    opened = []
    real = builtins.open

    def watched(file: object, *args: object, **more: object) -> object:
        opened.append(os.path.basename(str(file)))
        return real(file, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", watched)
    source = source_of(pets)
    assert inspect(source).n_train == 24 + 16
    assert len([name for name in opened if name.startswith(("unknown", "large"))]) == 16
    assert not [name for name in opened if name.endswith(".png")]
    assert counts(source) == {"files without a suffix": 1}
    monkeypatch.undo()
    assert not [bad for split in scan(source) for bad in split.bad]


def test_first_bytes_of_texts_are_none_of_an_image() -> None:
    for text in (b"P1 is a person", b"BMW", b"II. Chapter", b"GIF", b"\0" * 32, b"", b"RIFF....WAVEfmt "):
        assert not starts_as_image(text)


def test_more_than_one_percent_is_a_problem_but_a_sidecar_for_each_image_is_none(pets: Path) -> None:
    for split in ("train", "test"):
        for path in list((pets / split).rglob("*.png")):
            path.with_suffix(".xml").write_text("<a/>")
    assert not findings(source_of(pets))["passed over"]
    for path in list((pets / "train").rglob("*.png")):
        path.with_suffix(".json").write_text("{}")
    assert findings(source_of(pets))["passed over"], "a second one for each"


@pytest.mark.parametrize(("n", "severe"), [(1, False), (2, True)])
def test_the_share_that_is_a_problem(n: int, severe: bool) -> None:
    found = [PassedOver("'.raw' files", n, "a.raw", "lost"), PassedOver("hidden files", 500, ".x", "junk")]
    assert lost(found, 150) == n
    assert too_many(found, 150) is severe


def test_what_is_passed_over_is_in_the_manifest_and_not_in_the_fingerprint(
    pets: Path, tmp_path: Path
) -> None:
    before = prepare(source_of(pets), 16, tmp_path / "a")
    (pets / "train" / "cat" / "0.raw").write_bytes(b"x")
    after = prepare(source_of(pets), 16, tmp_path / "b")
    assert after.fingerprint == before.fingerprint and not before.passed_over
    (found,) = PreparedDataset(tmp_path / "b").manifest.passed_over
    assert (found.reason, found.n, found.why) == ("'.raw' files", 1, "sidecar")
    assert str(found) == f"1 '.raw' files, such as {pets}/train/cat/0.raw"


def labelled(first: int, n: int) -> list[tuple[str, bytes]]:
    """n samples of a shard, with their labels."""
    files = [(f"{i}.png", image(i)) for i in range(first, first + n)]
    return files + [(f"{i}.cls", b"cat" if i % 2 else b"dog") for i in range(first, first + n)]


def test_files_beside_shards_and_tables_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    write_tar(folder / "a.tar", [*labelled(0, 12), ("__MACOSX/._0.png", b"x"), ("._0.png", b"x")])
    (folder / "._a.tar").write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    (folder / "README.md").write_text("shards")
    for where in (folder, folder / "*.tar"):
        source = WebDatasetSource(str(where))
        assert inspect(source).n_train == 12
    assert counts(WebDatasetSource(str(folder))) == {"files that macOS leaves behind": 4, "'.md' files": 1}
    tables = tmp_path / "tables"
    tables.mkdir()
    pq.write_table(pa.table({"image": [image(0), image(1)], "label": ["a", "b"]}), tables / "t.parquet")
    (tables / "._t.parquet").write_bytes(b"\0\5\x16\7")
    (tables / "__MACOSX").mkdir()
    assert inspect(ParquetSource(str(tables))).n_train == 2
    assert counts(ParquetSource(str(tables / "*.parquet"))) == {}
    assert counts(ParquetSource(str(tables))) == {"files that macOS leaves behind": 2}


@pytest.mark.parametrize("names", ["own", "same"])
def test_joined_shards_are_read_to_the_end(tmp_path: Path, names: str) -> None:
    one = Path(write_tar(tmp_path / "1.tar", labelled(0, 12)))
    second = labelled(12, 12)
    if names == "same":
        second = [(f"{int(name.split('.')[0]) - 12}.{name.split('.')[1]}", data) for name, data in second]
    two = Path(write_tar(tmp_path / "2.tar", second))
    both = tmp_path / "all.tar"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    assert (inspect(WebDatasetSource(str(both))).n_train, inspect(WebDatasetSource(str(both))).n_labeled) == (
        24,
        24,
    )
    assert len({raw.decode().tobytes() for raw in iterate(WebDatasetSource(str(both)), "train")}) == 24
    both.write_bytes(one.read_bytes() + two.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"all\.tar: (the shard is cut short|not a readable)"):
        inspect(WebDatasetSource(str(both)))
    both.write_bytes(one.read_bytes() + b"rubbish" * 500)
    with pytest.raises(DataError, match=r"all\.tar: not a readable"):
        inspect(WebDatasetSource(str(both)))


def test_shards_that_tar_pads_or_appends_to_are_whole(tmp_path: Path) -> None:
    path = Path(write_tar(tmp_path / "1.tar", labelled(0, 6)))
    path.write_bytes(path.read_bytes() + bytes(1 << 21))
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("late.png")
        member.size = len(image(99))
        tar.addfile(member, io.BytesIO(image(99)))
    assert inspect(WebDatasetSource(str(path))).n_train == 7


def test_names_that_begin_with_the_folder_itself(tmp_path: Path) -> None:
    files = [(f"./{name}", data) for name, data in labelled(0, 4)]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", [*files, ("./.b/9.png", b"x")]))
    assert (inspect(source).n_labeled, counts(source)) == (4, {"hidden files": 1})


def test_one_rule_for_the_key_of_image_and_label(tmp_path: Path) -> None:
    files = [(f"a{i}.v2.png", image(i)) for i in range(6)] + [(f"a{i}.v2.cls", b"cat") for i in range(6)]
    files += [(f"b{i}.png", image(10 + i)) for i in range(6)] + [(f"b{i}.cls", b"dog") for i in range(6)]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", files))
    assert (inspect(source).n_train, inspect(source).n_labeled) == (12, 12)
    two = [("a.png", image(0)), ("a.cls", b"1"), ("a.v2.cls", b"2")]
    read = list(iterate(WebDatasetSource(write_tar(tmp_path / "y.tar", two)), "train"))
    assert [raw.labels for raw in read] == [("1",)], "the label that is named like the image"


def test_labels_in_members_that_are_not_read_are_refused(tmp_path: Path) -> None:
    for kind in ("txt", "label", "text"):
        files = [(f"{i}.png", image(i)) for i in range(12)]
        files += [(f"{i}.{kind}", b"cat" if i % 2 else b"dog") for i in range(12)]
        with pytest.raises(DataError, match=rf"12 have '\.{kind}' files beside them.*key\.cls or key\.json"):
            inspect(WebDatasetSource(write_tar(tmp_path / "x.tar", files)))
    captions = [(f"{i}.png", image(i)) for i in range(12)] + [(f"{i}.txt", b"cat %d" % i) for i in range(12)]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", captions))
    assert (inspect(source).n_labeled, counts(source)) == (0, {"'.txt' files": 12})
    half = [*labelled(0, 6), *[(f"{i}.png", image(i)) for i in range(6, 12)], ("6.label", b"cat")]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", half))
    assert counts(source) == {"'.label' files of images without a label": 1}
    assert findings(source)["passed over"]
    with pytest.raises(DataError, match=r"'9\.cls' is a label without an image"):
        inspect(WebDatasetSource(write_tar(tmp_path / "x.tar", [*labelled(0, 6), ("9.cls", b"cat")])))
    kinds = [
        *[(f"{i}.png", image(i)) for i in range(3)],
        *[(f"{i}.json", b'{"kind": "a"}') for i in range(3)],
    ]
    with pytest.raises(DataError, match=r"no \.json has the key 'label'; they have kind"):
        inspect(WebDatasetSource(write_tar(tmp_path / "x.tar", kinds)))
    with pytest.raises(DataError, match=r"no \.json has the key 'knd' \(did you mean 'kind'\?\)"):
        inspect(WebDatasetSource(write_tar(tmp_path / "x.tar", kinds), levels=("knd",)))


def test_images_that_a_table_only_names_are_read_beside_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.png").write_bytes(image(i))
    rows = [{"bytes": None, "path": f"images/{i}.png"} for i in range(4)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows, kind), "label": ["a", "b", "a", "b"]})
    pq.write_table(table, tmp_path / "t.parquet")
    read = list(iterate(ParquetSource(str(tmp_path / "t.parquet")), "train"))
    assert len({raw.decode().tobytes() for raw in read}) == 4
    before = inspect(ParquetSource(str(tmp_path / "t.parquet"))).signature
    (tmp_path / "images" / "1.png").write_bytes(image(77))
    assert inspect(ParquetSource(str(tmp_path / "t.parquet"))).signature != before
    (tmp_path / "images" / "2.png").unlink()
    with pytest.raises(DataError, match=r"images/2\.png: cannot be read"):
        read[2].decode()


def test_folders_of_a_partitioned_table_are_columns(tmp_path: Path) -> None:
    for i, name in enumerate(("cat", "sea%20lion", "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "t" / f"label={name}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"image": [image(2 * i), image(2 * i + 1)]}), folder / "part.parquet")
    source = ParquetSource(str(tmp_path / "t"))
    assert inspect(source).n_labeled == 4
    labels = [raw.labels[0] for raw in iterate(source, "train")]
    assert sorted(labels, key=str) == [None, None, "cat", "cat", "sea lion", "sea lion"]
    assert inspect(ParquetSource(str(tmp_path / "t" / "**" / "*.parquet"))).n_train == 6


@pytest.mark.parametrize("name", ["{v1}", "{a,b}", "v[1]", "x*", "{000..012}"])
def test_what_exists_is_no_pattern(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    write_tar(folder / "a-1.tar", labelled(0, 4))
    write_tar(folder / "{b}.tar", labelled(4, 2))
    pq.write_table(pa.table({"image": [image(0), image(1)], "label": ["a", "b"]}), folder / "t.parquet")
    assert inspect(WebDatasetSource(str(folder))).n_train == 6
    assert inspect(WebDatasetSource(str(folder / "{b}.tar"))).n_train == 2
    assert inspect(WebDatasetSource(str(folder / "a-{1..1}.tar"))).n_train == 4
    assert inspect(WebDatasetSource(str(folder / "a-*.tar"))).n_train == 4
    assert inspect(ParquetSource(str(folder))).n_train == 2
    assert inspect(ParquetSource(str(folder / "*.parquet"))).n_train == 2


def test_train_and_test_are_not_the_same_folder(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pets / "train")
    for test in (pets / "train", tmp_path / "link", pets / "test" / ".." / "train"):
        with pytest.raises(DataError, match="train and test are the same images"):
            inspect(FolderSource(str(pets / "train"), str(test)))


def test_folders_of_splits_are_not_classes(pets: Path) -> None:
    (pets / "val").mkdir()
    (pets / "val" / "0.png").write_bytes(image(7))
    with pytest.raises(
        DataError, match="the classes of 'label' are 'test', 'train', 'val', which are names of"
    ):
        inspect(FolderSource(str(pets), test_fraction=0.2))


def test_classes_known_before_decoding(pets: Path) -> None:
    assert inspect(source_of(pets)).n_classes == 2
    for path in (pets / "train" / "dog").iterdir():
        path.rename(pets / "train" / "cat" / f"dog-{path.name}")
    (pets / "train" / "dog").rmdir()
    assert inspect(FolderSource(str(pets / "train"))).n_classes == 1
    assert open_source(FolderSource(str(pets / "train"))).labels("train") == {"cat": 24}


def test_names_say_what_a_file_is() -> None:
    assert [kind_of(name) for name in ("a.JPG", "a.txt", "a.zip", "a", "a.v1")] == [
        "image",
        "text",
        "other",
        "unknown",
        "unknown",
    ]


def test_the_page_lists_all_that_is_no_data_or_no_label() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    missing = [name for name in JUNK if f"`{name!r}`".replace("'", "").lower() not in page.lower()]
    assert not missing
    assert not [spelling for spelling in MISSING if f"`{spelling}`" not in page]
