"""Tiny copies of published layouts, right and wrong: ImageNet, iNat21, Places365, GeoLifeCLEF, Tiny-ImageNet,
CIFAR and other sets of torchvision."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.registry import (
    GeoLifeClefSource,
    ImageNetSource,
    INat21Source,
    Places365Source,
    Source,
    TinyImageNetSource,
    TorchvisionSource,
    inspect,
    iterate,
    levels_of,
)

WNIDS = ("n01440764", "n01443537", "n02084071")


@pytest.fixture
def put(rows, tmp_path):
    """Write the next of the example images to a path of the test's folder."""
    images = iter(rows * 3)

    def write(*parts: str) -> Path:
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(next(images)[0])
        return path

    return write


def problem(source: Source) -> str:
    with pytest.raises(DataError) as error:
        inspect(source)
    return str(error.value)


def labels(source: Source, split: str = "train") -> list[str | None]:
    return [raw.labels[0] for raw in iterate(source, split)]  # type: ignore[arg-type]


def ilsvrc(put, base: str = "") -> None:
    for wnid in WNIDS:
        for i in range(2):
            put(base, "train", wnid, f"{wnid}_{i}.JPEG")


def test_imagenet_with_its_devkit(put, tmp_path):
    from scipy.io import savemat

    ilsvrc(put)
    for i in range(1, 5):
        put("val", f"ILSVRC2012_val_{i:08}.JPEG")
    source = ImageNetSource(str(tmp_path))
    assert "neither ILSVRC2012_devkit_t12/data nor LOC_val_solution.csv" in problem(source)
    devkit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    # the devkit numbers its classes in an order of its own, and lists inner nodes of the tree after them
    table = np.array(
        [(2, WNIDS[0]), (1, WNIDS[2]), (3, WNIDS[1]), (1001, "n00001740")],
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")],
    )
    savemat(devkit / "meta.mat", {"synsets": table})
    truth = devkit / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("2\n3\n1\n2\n")
    info = inspect(source)
    assert (info.n_train, info.n_test) == (6, 4)
    assert labels(source, "test") == [WNIDS[0], WNIDS[1], WNIDS[2], WNIDS[0]]
    assert labels(source) == [wnid for wnid in WNIDS for _ in range(2)]
    manifest = prepare(source, 16, tmp_path / "out")
    assert (manifest.n_train, manifest.n_test, manifest.class_names) == (6, 4, (WNIDS,))
    truth.write_text("2\n3\n1\n")
    assert "no label for 1 images" in problem(source)
    truth.write_text("2\n3\n1\n77\n")
    assert "ground_truth.txt:4: no class '77' in meta.mat" in problem(source)
    (devkit / "meta.mat").write_bytes(b"nothing")
    assert "meta.mat: cannot be read" in problem(source)


def test_imagenet_with_sorted_val_and_as_kaggle_packs_it(put, tmp_path):
    ilsvrc(put, "a")
    for wnid in WNIDS:
        put("a", "val", wnid, f"{wnid}.JPEG")
    source = ImageNetSource(str(tmp_path / "a"))
    assert inspect(source).n_test == 3 and labels(source, "test") == list(WNIDS)
    ilsvrc(put, "b/Data/CLS-LOC")
    for i in (1, 2):
        put("b", "Data", "CLS-LOC", "val", f"ILSVRC2012_val_{i:08}.JPEG")
    solution = "ImageId,PredictionString\n"
    solution += "ILSVRC2012_val_00000002,n01443537 1 2 3 4 n01443537 5 6 7 8 \n"
    solution += "ILSVRC2012_val_00000001,n01440764 1 1 9 9 \n"
    (tmp_path / "b" / "LOC_val_solution.csv").write_text(solution)
    assert labels(ImageNetSource(str(tmp_path / "b")), "test") == ["n01440764", "n01443537"]
    assert "train: no such folder" in problem(ImageNetSource(str(tmp_path / "gone")))


def inat(put, tmp_path: Path, name: str, n: int) -> dict:
    ranks = {"genus": "Lumbricus", "family": "Lumbricidae", "order": "Haplotaxida", "class": "Clitellata"}
    ranks |= {"phylum": "Annelida", "kingdom": "Animalia"}
    categories = [
        {"id": 0, "name": "Lumbricus terrestris", "common_name": "Common Earthworm", **ranks},
        {"id": 1, "name": "Lumbricus rubellus", **ranks},
        {"id": 7, "name": "Rosa canina", **dict.fromkeys(ranks, "Rosa"), "kingdom": "Plantae"},
    ]
    split = name.removesuffix(".json")
    images = [{"id": 100 + i, "file_name": f"{split}/0000{i % 3}_x/{i}.jpg", "width": 20} for i in range(n)]
    for image in images:
        put(str(image["file_name"]))
    notes = [{"id": i, "image_id": 100 + i, "category_id": (0, 1, 7)[i % 3]} for i in range(n)]
    content = {"info": {}, "images": images, "categories": categories, "annotations": notes[::-1]}
    (tmp_path / name).write_text(json.dumps(content))
    return content


def test_inat21_full_and_mini(put, tmp_path):
    content = inat(put, tmp_path, "train.json", 6)
    inat(put, tmp_path, "train_mini.json", 3)
    inat(put, tmp_path, "val.json", 3)
    source = INat21Source(str(tmp_path))
    assert levels_of(source) == ("species", "genus", "family", "order", "class", "phylum", "kingdom")
    manifest = prepare(source, 16, tmp_path / "out")
    assert (manifest.n_train, manifest.n_test) == (6, 3)
    assert manifest.class_names[0] == ("Lumbricus rubellus", "Lumbricus terrestris", "Rosa canina")
    assert manifest.class_names[6] == ("Animalia", "Plantae")
    assert manifest.parents[5] == (0, 0, 1)
    assert inspect(INat21Source(str(tmp_path), "mini")).n_train == 3
    path = tmp_path / "train.json"

    def wrong(**changes: object) -> str:
        path.write_text(json.dumps({**content, **changes}))
        return problem(source)

    assert "no 'annotations'" in wrong(annotations=None, **{}) or "not iNat21's" in wrong(annotations=None)
    assert "105 is missing" in wrong(annotations=content["annotations"][1:])
    assert "'kingdom' is missing" in wrong(
        categories=[
            {"id": 0, "name": "x", **{"genus": "g"}, "family": "f", "order": "o", "class": "c", "phylum": "p"}
        ]
    )
    assert "is outside the folder" in wrong(images=[{"id": 100, "file_name": "../x.jpg"}])
    assert "no images" in wrong(images=[])
    path.write_text("{")
    assert "not valid JSON" in problem(source)
    path.unlink()
    assert "train.json: cannot be read" in problem(source)
    assert "no variant 'tiny'" in problem(INat21Source(str(tmp_path), "tiny"))  # type: ignore[arg-type]


def test_inat21_names_that_a_rank_has_twice(put, tmp_path):
    """Homonyms get their parents' names; all others, and the signature of a set without any, stay."""
    content, val = inat(put, tmp_path, "train.json", 6), inat(put, tmp_path, "val.json", 3)
    path, source = tmp_path / "train.json", INat21Source(str(tmp_path))
    ranks = {"phylum": "Chordata", "class": "Aves", "order": "Passeriformes", "kingdom": "Animalia"}
    birds = {"id": 0, "name": "Rosa terrestris", "genus": "Rosa", "family": "Rosidae", **ranks}
    twice = {"id": 1, "name": "Rosa canina", "genus": "Rosa", "family": "Rosidae", **ranks}
    categories = [birds, twice, content["categories"][2]]
    path.write_text(json.dumps({**content, "categories": categories}))
    (tmp_path / "val.json").write_text(json.dumps({**val, "categories": categories}))
    manifest = prepare(source, 16, tmp_path / "out")
    assert manifest.class_names[:3] == (
        ("Rosa canina (Rosa (Rosa))", "Rosa canina (Rosa (Rosidae))", "Rosa terrestris"),
        ("Rosa (Rosa)", "Rosa (Rosidae)"),
        ("Rosa", "Rosidae"),
    )
    assert manifest.parents[:2] == ((0, 1, 1), (0, 1, 1))
    stamps = source.listing("train").stamps
    assert stamps[-1] == ("repeated names with their parents", 0, 0), "what was prepared before is not found"
    path.write_text(json.dumps(content))
    assert len(source.listing("train").stamps) == len(stamps) - 1


def test_places365(put, tmp_path):
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n/a/apartment_building/outdoor 1\n")
    train = ["/a/airfield/00000001.jpg 0", "/a/apartment_building/outdoor/00000001.jpg 1"]
    val = ["Places365_val_00000001.jpg 1", "Places365_val_00000002.jpg 0"]
    source = Places365Source(str(tmp_path))
    assert "data_256_standard: no such folder; unpack" in problem(source)
    for line in train:
        put("data_256_standard", line.split()[0].lstrip("/"))
    for line in val:
        put("val_256", line.split()[0])
    assert "places365_train_standard.txt: cannot be read" in problem(source)
    (tmp_path / "places365_train_standard.txt").write_text("\n".join(train) + "\n")
    (tmp_path / "places365_val.txt").write_text("\n".join(val) + "\n")
    assert labels(source) == ["airfield", "apartment_building/outdoor"]
    assert labels(source, "test") == ["apartment_building/outdoor", "airfield"]
    manifest = prepare(source, 16, tmp_path / "out")
    assert (manifest.n_train, manifest.n_test) == (2, 2)
    for text, message in (
        ("x.jpg 9\n", "x.jpg has the class 9, which categories_places365.txt lacks"),
        ("x.jpg\n", "places365_val.txt:1: 'x.jpg' is not a file name and a class number"),
        ("../x.jpg 1\n", "is not a file name and a class number"),
        ("", "no lines"),
    ):
        (tmp_path / "places365_val.txt").write_text(text)
        assert message in problem(source)


def test_geolifeclef_patches_by_observation_id(put, tmp_path):
    for id in ("10171444", "10000056", "22059321"):
        region = "patches_fr" if id[0] == "1" else "patches_us"
        put(region, id[-2:], id[-4:-2], f"{id}_rgb.jpg")
    table = tmp_path / "landcover.csv"
    table.write_text("observation_id;cover;up\n10171444;11;urban\n10000056;;\n22059321;3;wild\n")
    source = GeoLifeClefSource(str(tmp_path), str(table), levels=("cover", "up"))
    info = inspect(source)
    assert (info.n_train, info.n_labeled) == (3, 2)
    manifest = prepare(source, 16, tmp_path / "out")
    assert manifest.class_names == (("3", "11"), ("urban", "wild"))
    assert "neither patches_fr nor patches_us" in problem(GeoLifeClefSource(str(tmp_path / "x"), str(table)))
    assert "no column 'label'" in problem(GeoLifeClefSource(str(tmp_path), str(table)))
    table.write_text("observation_id,label\n30171444,1\n")
    assert "'30171444' is not an observation id" in problem(GeoLifeClefSource(str(tmp_path), str(table)))
    table.write_text("observation_id,label\n10171400,1\n")
    with pytest.raises(DataError, match=r"patches_fr/00/14/10171400_rgb\.jpg: cannot be read"):
        prepare(GeoLifeClefSource(str(tmp_path), str(table)), 16, tmp_path / "out")


def test_tiny_imagenet(put, tmp_path):
    for wnid in WNIDS[:2]:
        for i in range(2):
            put("train", wnid, "images", f"{wnid}_{i}.JPEG")
        (tmp_path / "train" / wnid / f"{wnid}_boxes.txt").write_text("x\t0\t0\t1\t1\n")
    for i in range(3):
        put("val", "images", f"val_{i}.JPEG")
    table = tmp_path / "val" / "val_annotations.txt"
    source = TinyImageNetSource(str(tmp_path))
    assert "val_annotations.txt: cannot be read" in problem(source)
    table.write_text("".join(f"val_{i}.JPEG\t{WNIDS[i % 2]}\t0\t0\t62\t62\n" for i in range(3)))
    assert labels(source, "test") == [WNIDS[0], WNIDS[1], WNIDS[0]]
    manifest = prepare(source, 16, tmp_path / "out")
    assert (manifest.n_train, manifest.n_test) == (4, 3)
    table.write_text("val_0.JPEG n01440764\n")
    assert "a line is not a file name, a tab, a class" in problem(source)
    put("sorted", "train", WNIDS[0], "images", "a.JPEG")
    put("sorted", "val", WNIDS[0], "b.JPEG")
    assert labels(TinyImageNetSource(str(tmp_path / "sorted")), "test") == [WNIDS[0]]


def cifar100(root: Path, protocol: int = 4) -> np.ndarray:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    data = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    fine, coarse = [0, 1, 2, 0, 1, 2], [0, 0, 1, 0, 0, 1]
    for name, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
        batch = {"data": data[part], "fine_labels": fine[part], "coarse_labels": coarse[part]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    meta = {"fine_label_names": ["apple", "pear", "rat"], "coarse_label_names": ["fruit", "mammal"]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol))
    return data


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar100_with_its_coarse_labels(tmp_path, protocol):
    data = cifar100(tmp_path, protocol)
    source = TorchvisionSource("CIFAR100", str(tmp_path))
    assert levels_of(source) == ("label", "coarse")
    manifest = prepare(source, 32, tmp_path / "out")
    assert (manifest.n_train, manifest.n_test) == (4, 2)
    assert manifest.class_names == (("apple", "pear", "rat"), ("fruit", "mammal"))
    assert manifest.parents == ((0, 0, 1),)
    first = next(iterate(source, "train"))
    assert np.array_equal(first.decode()[:, :, 1].ravel(), data[0, 1024:2048])
    prepared = PreparedDataset(tmp_path / "out")
    assert prepared.images("train").shape == (4, 32, 32, 3)


def test_a_cifar_batch_can_run_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "unpickled"),)

    cifar100(tmp_path)
    source = TorchvisionSource("CIFAR100", str(tmp_path))
    file = tmp_path / "cifar-100-python" / "train"
    file.write_bytes(pickle.dumps({"data": Bomb()}))
    assert "asks for posix.mkdir); nothing in it was run" in problem(source)
    assert not (tmp_path / "unpickled").exists()
    file.write_bytes(b"no pickle")
    assert "train: not a batch of CIFAR" in problem(source)
    file.write_bytes(pickle.dumps({"data": np.zeros((2, 5), np.uint8)}))
    assert "expected uint8 (N, 3072)" in problem(source)
    data = np.zeros((1, 3072), np.uint8)
    file.write_bytes(pickle.dumps({"data": data, "fine_labels": [9], "coarse_labels": [0]}))
    assert "a label is out of the range of meta" in problem(source)
    file.write_bytes(pickle.dumps({"data": data, "fine_labels": [], "coarse_labels": [0]}))
    assert "a different number of labels" in problem(source)
    file.unlink()
    assert "train: cannot be read" in problem(source)


def test_sets_of_torchvision(put, rows, tmp_path):
    for name in ("Forest", "River"):
        for i in range(3):
            put("eurosat", "2750", name, f"{name}_{i}.png")
    source = TorchvisionSource("EuroSAT", str(tmp_path), test_fraction=0.34)
    info = inspect(source)
    assert (info.n_train, info.n_test) == (4, 2)
    assert labels(source) == ["Forest"] * 3 + ["River"] * 3
    manifest = prepare(source, 16, tmp_path / "out")
    assert (manifest.n_train, manifest.class_names) == (4, (("Forest", "River"),))
    assert np.array_equal(next(iterate(source, "train")).decode(), decode_rgb(rows[0][0], "x"))
    bad = tmp_path / "eurosat" / "2750" / "River" / "River_1.png"
    before = info.signature
    bad.write_bytes(b"text")
    assert inspect(source).signature != before
    with pytest.raises(DataError, match=r"EuroSAT train\[4\]: not a readable image"):
        prepare(source, 16, tmp_path / "out")


def test_a_set_with_splits_of_its_own(put, tmp_path):
    for split in ("train", "valid", "test"):
        for name in ("AD", "FR"):
            put("country211", split, name, "1.jpg")
    source = TorchvisionSource("Country211", str(tmp_path))
    assert (inspect(source).n_train, inspect(source).n_test) == (2, 2)
    assert labels(source, "test") == ["AD", "FR"]
    with pytest.raises(DataError, match="has its own test split"):
        inspect(TorchvisionSource("Country211", str(tmp_path), test_fraction=0.5))


def test_gray_digits_of_torchvision(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", 3), ("t10k", 2)):
        images = np.arange(n * 784, dtype=np.uint8).reshape(n, 28, 28)
        head = np.array([0x803, n, 28, 28], dtype=">i4").tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = np.array([0x801, n], dtype=">i4").tobytes()
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + bytes(range(n)))
    source = TorchvisionSource("MNIST", str(tmp_path))
    assert (inspect(source).n_train, inspect(source).n_test) == (3, 2)
    manifest = prepare(source, 28, tmp_path / "out")
    assert manifest.class_names[0][0] == "0 - zero"


def test_sets_that_are_not_there(tmp_path):
    assert "no torchvision set 'EuroSat' (did you mean 'EuroSAT'?)" in problem(
        TorchvisionSource("EuroSat", str(tmp_path))
    )
    gone = problem(TorchvisionSource("EuroSAT", str(tmp_path)))
    assert "Dataset not found" in gone and "set download: true to fetch the set" in gone
    assert "cannot be read" in problem(TorchvisionSource("CIFAR10", str(tmp_path)))


def test_every_set_named_is_one_of_torchvision_s():
    from torchvision import datasets

    from ssl_sweep.data_ops.sources.torchvision import CIFARS, SETS

    assert all(hasattr(datasets, name) for name in [*SETS, *CIFARS])


def test_neither_torch_nor_ray_is_imported_for_a_source():
    code = (
        "import sys, data_ops.sources, sweep.grid; sys.exit(bool({'torch', 'ray', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
