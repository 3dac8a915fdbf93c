"""Bad input, each with a clear message and the right exit code, before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import TINY, Bench


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("labels:", "lables:"), "did you mean 'labels'"),
        (("domain: [objects, scenes], labels", "domain: [objects, scense], labels"), "did you mean 'scenes'"),
        (("images: 128", "images: 5000"), "5000"),
        (("batch: 32", "batch: 129"), "batch"),
        (("labels: [32, all]", "labels: []"), "empty"),
        (("domain: scenes, train", "domain: seens, train"), "scenes"),
        (("name: tiny", "name: tiny\nname: twice"), "name"),
    ],
)
def test_a_wrong_grid_is_refused_with_its_line(bench: Bench, change: tuple[str, str], says: str) -> None:
    assert change[0] in TINY
    bench.write(TINY.replace(*change))
    line = 1 + next(
        i
        for i, text in enumerate(TINY.replace(*change).splitlines()[0:])
        if change[1].splitlines()[-1] in text
    )
    for command in ("run", "plan"):
        result = bench.call(command, "grid.yaml", "--store", bench.store, expect=2)
        assert says in result.stderr
        assert f"grid.yaml:{line}:" in result.stderr
    assert not (bench.folder / bench.store / "executions.jsonl").exists()


def test_all_errors_are_shown_at_once(bench: Bench) -> None:
    bench.write(TINY.replace("labels:", "lables:").replace("images: 128", "images: 5000"))
    result = bench.call("validate", "grid.yaml", expect=2)
    assert "lables" in result.stderr
    assert "5000" in result.stderr


def test_a_missing_path_is_named(bench: Bench) -> None:
    bench.write(TINY + "  - {domain: mine, labels: 4}\n")
    more = "datasets.mine={source: parquet, train: nowhere/train.parquet, test: nowhere/test.parquet}"
    result = bench.call("run", "grid.yaml", more, "--store", bench.store, expect=2)
    assert "nowhere/train.parquet" in result.stderr


def test_a_store_that_cannot_be_written(bench: Bench) -> None:
    (bench.folder / "file").write_text("")
    result = bench.call("run", "grid.yaml", "--store", "file/store", expect=2)
    assert "file is not a folder" in result.stderr
    assert "hint:" in result.stderr


@pytest.mark.parametrize("name", ["device", "probe_device"])
def test_a_gpu_asked_for_and_absent(bench: Bench, name: str) -> None:
    bench.env["CUDA_VISIBLE_DEVICES"] = ""
    result = bench.call("run", "grid.yaml", f"compute.{name}=gpu", "--store", bench.store, expect=3)
    assert f"compute.{name} is gpu, but no CUDA GPU" in result.stderr


def test_more_workers_than_the_machine_has(bench: Bench) -> None:
    many = ["compute.workers=16", "compute.cpus_per_worker=1000"]
    result = bench.call("run", "grid.yaml", *many, "--store", bench.store, expect=3)
    assert "16 workers x 1000 CPUs" in result.stderr


def test_a_batch_that_the_workers_cannot_share(bench: Bench) -> None:
    result = bench.call("run", "grid.yaml", "compute.workers=5", "--store", bench.store, expect=3)
    assert "a batch of 32 images cannot be divided among 5 workers (compute.workers)" in result.stderr


def test_no_cluster_at_the_address(bench: Bench) -> None:
    result = bench.call(
        "run", "grid.yaml", "--store", bench.store, "--address", "127.0.0.1:9", expect=3, timeout=120
    )
    assert "127.0.0.1:9" in result.stderr


def test_usage_errors_exit_with_2(bench: Bench) -> None:
    bench.call("run", expect=2)
    bench.call("rnu", "grid.yaml", expect=2)
    missing = bench.call("plan", "nothing.yaml", expect=2)
    assert "nothing.yaml" in missing.stderr
    typo = bench.call("plan", "grid.yaml", "pretrain.epcohs=3", expect=2)
    assert "did you mean 'epochs'" in typo.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, click.testing, cli; click.testing.CliRunner().invoke(cli.cli, ['--help']);"
        "print([m for m in ('torch', 'ray', 'mlflow', 'numpy', 'pydantic', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_schema_in_the_docs_is_the_program_s(bench: Bench) -> None:
    kept = Path(__file__).parents[2] / "docs" / "grid.schema.json"
    assert bench.call("schema").stdout == kept.read_text(), "run: ssl-sweep schema > docs/grid.schema.json"
