"""`ssl-sweep data …` as typed by a user, on a folder of images with every kind of problem."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench, wait_for
from PIL import Image

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.dataset.subsets import subset
from ssl_sweep.data_ops.synthetic import domains as synthetic

GRID = """
name: mine
datasets:
  mine: {source: folder, train: images/train, test: images/test, size: 16}
  objects: {source: synthetic, domain: objects, train: 200, test: 40, size: 16}
pretrain:
  - {domain: [mine, objects], images: all, epochs: 1, batch: 16}
evaluate:
  - {domain: [mine, objects], labels: all}
"""


def write_images(root: Path) -> None:
    """120 good images in four classes, two of them small, and four that are not good."""
    images = synthetic.render("objects", np.arange(120), seed=5, size=20)
    for i, image in enumerate(images):
        split = "test" if i % 5 == 4 else "train"
        name = ("ant", "bee")[i % 2] if i < 100 else ("cat", "dog")[i // 2 % 2]
        file = root / split / name / f"{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    (root / "test" / "ant" / "copy.png").write_bytes((root / "train" / "ant" / "000.png").read_bytes())
    jpeg = io.BytesIO()
    Image.fromarray(images[0].repeat(4, axis=0).repeat(4, axis=1)).save(jpeg, "JPEG", quality=100)
    (root / "train" / "bee" / "cut.jpg").write_bytes(jpeg.getvalue()[:-200])
    (root / "train" / "ant" / "empty.png").write_bytes(b"")
    (root / "test" / "dog" / "text.jpg").write_text("not an image")


@pytest.fixture
def mine(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.write(GRID)
    write_images(tmp_path / "images")
    return made


def data(bench: Bench, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command, *rest = arguments
    store = [] if command == "check" else ["--store", bench.store]
    return bench.call("data", command, *rest, *store, expect=expect)


def prepares(bench: Bench, *overrides: str) -> dict[str, str]:
    """Label and state of each prepare stage in the plan of a run."""
    stages: Any = bench.plan(*overrides)["nodes"]
    return {stage["label"]: stage["state"] for stage in stages if stage["stage"] == "prepare"}


def test_check_lists_everything_and_fails(mine: Bench) -> None:
    out = data(mine, "check", "grid.yaml", expect=1).stdout
    root = mine.folder / "images"
    for name, reason in (
        ("train/bee/cut.jpg", "truncated"),
        ("train/ant/empty.png", "empty image"),
        ("test/dog/text.jpg", "unknown format"),
    ):
        (line,) = [line for line in out.splitlines() if str(root / name) in line]
        assert reason in line
    assert f"{root}/train/ant/000.png = {root}/test/ant/copy.png" in out
    assert "2 of 4 classes of 'label' have fewer than 10 images" in out
    assert "mine: 124 images, 3 bad, 4 classes" in out
    assert "2 problems, 2 notes" in out
    document = json.loads(data(mine, "check", "grid.yaml", "--json", expect=1).stdout)
    kinds = [(found["kind"], found["split"], found["severe"]) for found in document["findings"]]
    assert kinds == [
        ("bad images", "train", True),
        ("bad images", "test", True),
        ("few images", "train", False),
        ("copies across splits", "train, test", False),
    ]
    assert not (mine.folder / mine.store).exists(), "a check writes nothing"


def test_check_of_good_data_succeeds(mine: Bench) -> None:
    mine.write(GRID.replace("test, size: 16", "test, size: 16, on_bad_image: skip"))
    out = data(mine, "check", "grid.yaml").stdout
    assert "0 problems, 4 notes" in out
    assert "skipped (on_bad_image: skip)" in out
    assert "also in train; a sweep leaves them out of pretraining and label budgets (leakage: drop)" in out
    assert "1 problem, 3 notes" in data(mine, "check", "grid.yaml", "leakage=report", expect=1).stdout


def test_leaks_across_datasets(mine: Bench) -> None:
    more = "datasets.other={source: folder, train: images/test, test: images/train, on_bad_image: skip}"
    mine.write(GRID.replace("domain: [mine, objects], labels", "domain: [objects, other], labels"))
    for policy, severe in (("drop", False), ("report", True)):
        arguments = ("check", "grid.yaml", more, f"leakage={policy}", "--json")
        document = json.loads(data(mine, *arguments, expect=1).stdout)
        leaks = [found for found in document["findings"] if found["kind"] == "leak"]
        assert [(leak["dataset"], leak["split"], leak["severe"]) for leak in leaks] == [
            ("mine, other", "train, test", severe)
        ]
        assert leaks[0]["message"].startswith("96 images")


def test_prepare_is_the_stage_that_run_finds_done(mine: Bench) -> None:
    failed = data(mine, "prepare", "grid.yaml", expect=1)
    assert "empty.png" in failed.stdout
    assert "prepared  objects" in failed.stdout, "one bad dataset does not keep the others"
    assert prepares(mine) == {"mine": "to_run", "objects": "complete"}
    status = json.loads(mine.call("status", "grid.yaml", "--store", mine.store, "--json").stdout)
    assert [failure["stage"] for failure in status["failures"]] == ["prepare"]
    mine.write(GRID.replace("test, size: 16", "test, size: 16, on_bad_image: skip"))
    done = data(mine, "prepare", "grid.yaml", "mine")
    assert "96 training and 25 test images, 3 skipped" in done.stdout
    assert prepares(mine) == {"mine": "complete", "objects": "complete"}
    executions = mine.executions()
    again = data(mine, "prepare", "grid.yaml", "--json")
    assert {row["state"] for row in json.loads(again.stdout)["datasets"]} == {"complete"}
    assert mine.executions() == executions
    listed = json.loads(data(mine, "list", "grid.yaml", "--json").stdout)["datasets"]
    assert [(row["name"], row["n_train"], row["prepared"]) for row in listed] == [
        ("mine", 96, True),
        ("objects", 200, True),
    ]


def test_a_killed_prepare_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write(GRID.replace("train: 200", "train: 8000"))
    command = ("data", "prepare", "grid.yaml", "objects", "--store")
    process = bench.start(*command, "killed")
    journals = lambda: [*(tmp_path / "killed").rglob("*.journal")]  # noqa: E731
    wait_for(lambda: any(path.stat().st_size for path in journals()), 60, "a first chunk")
    process.kill()
    process.communicate()
    assert not [*(tmp_path / "killed").rglob("manifest.json")]
    bench.call(*command, "killed")
    bench.call(*command, "quiet")
    (one,), (other,) = ([*(tmp_path / s).rglob("dataset.json")] for s in ("killed", "quiet"))
    assert one.read_bytes() == other.read_bytes()
    assert not journals()


def test_a_damaged_copy_is_not_prepared_and_is_made_whole(mine: Bench) -> None:
    row = lambda *name: json.loads(data(mine, "prepare", "grid.yaml", *name, "--json").stdout)["datasets"][0]  # noqa: E731
    folder = mine.folder / mine.store / "prepare" / row("objects")["id"] / "data"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    for damage in (
        lambda: (folder / "train_keys.npy").unlink(),
        lambda: (folder / "train.npy").write_bytes(whole["train.npy"][:1000]),
    ):
        damage()
        assert prepares(mine)["objects"] == "to_run"
        assert row("objects")["state"] == "prepared"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
        assert prepares(mine)["objects"] == "complete"


def test_inspect_before_and_after_preparing(mine: Bench) -> None:
    mine.write(GRID.replace("test, size: 16", "test, size: 16, on_bad_image: skip"))
    before = json.loads(data(mine, "inspect", "grid.yaml", "mine", "--json").stdout)
    refused = data(mine, "inspect", "grid.yaml", "mine", "-o", "sample.png", expect=1)
    assert "ssl-sweep data prepare grid.yaml mine" in refused.stderr
    data(mine, "prepare", "grid.yaml", "mine")
    after = json.loads(data(mine, "inspect", "grid.yaml", "mine", "-o", "sample.png", "--json").stdout)
    assert after["prepared"] and not before["prepared"]
    for key in ("splits", "levels", "shared"):
        assert before[key] == after[key]
    assert sorted(before["skipped"]) == sorted(after["skipped"])
    assert after["shared"] == 1
    assert after["sizes"]["largest"] == [20, 20]
    assert after["levels"][0]["imbalance"] == after["levels"][0]["largest"][0][1] / 8
    with Image.open(mine.folder / "sample.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > 4 * 96
    assert "test images that are also training images: 1" in data(mine, "inspect", "grid.yaml", "mine").stdout


def test_a_subset_is_exported_in_the_order_of_its_draw(mine: Bench) -> None:
    refused = data(mine, "subset", "grid.yaml", "objects", "--images", "5", expect=1)
    assert "is not prepared" in refused.stderr
    mine.write(GRID.replace("test, size: 16", "test, size: 16, on_bad_image: skip"))
    data(mine, "prepare", "grid.yaml")
    small = data(mine, "subset", "grid.yaml", "objects", "--images", "5", "--seed", "1").stdout.split()
    data(mine, "subset", "grid.yaml", "objects", "--images", "50%", "--seed", "1", "-o", "ids.txt")
    large = (mine.folder / "ids.txt").read_text().split()
    assert (len(small), len(large)) == (5, 100)
    assert large[:5] == small
    (id,) = [
        row["id"]
        for row in json.loads(data(mine, "prepare", "grid.yaml", "objects", "--json").stdout)["datasets"]
    ]
    prepared = PreparedDataset(mine.folder / mine.store / "prepare" / id / "data")
    drawn = subset(prepared.keys("train"), 100, seed=1)
    assert large == prepared.ids("train")[drawn].tolist()
    many = data(mine, "subset", "grid.yaml", "objects", "--images", "201", expect=1)
    assert "200" in many.stderr
    # the copy of a test image is left out, as a sweep leaves it out
    assert len(data(mine, "subset", "grid.yaml", "mine", "--images", "all").stdout.split()) == 95
    kept = data(mine, "subset", "grid.yaml", "mine", "leakage=report", "--images", "all").stdout.split()
    assert len(kept) == 96


def test_without_a_grid_the_sources_are_listed(mine: Bench) -> None:
    out = data(mine, "list").stdout
    for name in ("parquet", "folder", "objects", "organisms", "scenes", "landcover"):
        assert any(line.startswith(f"{name} ") for line in out.splitlines())


def test_what_is_asked_wrong(mine: Bench) -> None:
    assert "did you mean 'mine'" in data(mine, "inspect", "grid.yaml", "mien", expect=1).stderr
    assert "did you mean 'mine'" in data(mine, "prepare", "grid.yaml", "mien", expect=1).stderr
    data(mine, "check", "grid.yaml", "datasets.mine.sise=8", expect=2)
    data(mine, "list", "nothing.yaml", expect=2)
    gone = "datasets.mine.test=nowhere"
    assert "nowhere" in data(mine, "list", "grid.yaml", gone).stdout
    assert "nowhere" in data(mine, "check", "grid.yaml", gone, expect=1).stdout
    assert "nowhere" in data(mine, "prepare", "grid.yaml", gone, expect=2).stderr
    data(mine, "prepare", "grid.yaml", gone, "objects")
    negative = data(mine, "subset", "grid.yaml", "objects", gone, "--images", "5", "--seed", "-1", expect=1)
    assert "--seed -1" in negative.stderr
