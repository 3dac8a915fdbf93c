"""The machine around a run: a hostile working folder, one core, proxies, temporary folders, versions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from bench import Bench
from ray_head import Head

import ssl_sweep

ROOT = Path(ssl_sweep.__file__).parent
NAMES = [
    "csv",
    "json",
    "numpy",
    "torch",
    "ray",
    "yaml",
    "sweep",
    "ssl_sweep",
    "cli",
    "data_ops",
]
GRID = """
name: machine
datasets:
  objects: {source: synthetic, domain: objects, train: 64, test: 32}
pretrain:
  - {domain: objects, images: 32, epochs: 1, batch: 16}
evaluate:
  - {domain: objects, labels: 32}
"""
LIGHT = GRID.replace("{domain: objects, images: 32, epochs: 1, batch: 16}", "{method: random}")


def hostile(bench: Bench) -> None:
    """Files that would end any process that imports them, in the working folder and so on PYTHONPATH."""
    for name in NAMES:
        (bench.folder / f"{name}.py").write_text("raise SystemExit(f'{__file__} was imported')")


@pytest.mark.slow
def test_a_run_in_a_hostile_place_is_like_any_other(bench: Bench) -> None:
    """One run for all: each of these made workers die, or Ray not start, or two trainings share a core."""
    bench.write(GRID)
    hostile(bench)
    long = bench.folder / ("long" * 20)
    long.mkdir()
    proxies = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY")}
    bench.env = {"TMPDIR": long.name, "PYTHONPATH": str(ROOT / "tests/helpers/plugins"), **proxies}
    one = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", one] if shutil.which("taskset") else []
    done = bench.call("-v", "run", "grid.yaml", "--store", bench.store, prefix=command)
    assert "executed 1 prepare, 1 pretrain, 2 features, 1 probe" in done.stderr, done.stderr
    if command:
        assert "Ray is started on this machine: 1 CPUs" in done.stderr, done.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", ["{folder}", "{folder}:{plugins}"])
def test_files_of_pythonpath_do_not_reach_the_workers(bench: Bench, path: str) -> None:
    bench.write(LIGHT)
    hostile(bench)
    (bench.folder / "ssl_sweep.py").unlink()  # Python itself would start that instead of the program
    plugins = ROOT / "tests/helpers/plugins"
    bench.env = {"PYTHONPATH": path.format(folder=bench.folder, plugins=plugins)}
    bench.run()


@pytest.mark.exhaustive
def test_nodes_with_another_version_are_refused(bench: Bench, tmp_path: Path) -> None:
    """The workers of this cluster have a copy of the program in which one line differs."""
    bench.write(LIGHT)
    other = tmp_path / "other" / "ssl_sweep"
    for part in ("sweep", "ssl_core", "data_ops"):
        shutil.copytree(ROOT / part, other / part, ignore=shutil.ignore_patterns("__pycache__"))
    for module in ROOT.glob("*.py"):
        shutil.copy(module, other)
    with (other / "sweep/errors.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    head = Head(cpus=2, env={"PYTHONPATH": str(other.parent)})
    try:
        bench.env = head.env
        refused = bench.call("run", "grid.yaml", "--store", bench.store, "--address", head.address, expect=3)
    finally:
        head.stop()
    assert f"in {other}, but the driver runs ssl-sweep" in refused.stderr, refused.stderr
    assert "install the same version on every node" in refused.stderr
    assert not list((bench.folder / bench.store).glob("*/*/manifest.json"))


@pytest.mark.exhaustive
def test_two_runs_started_together_both_finish(bench: Bench) -> None:
    bench.write(LIGHT)
    both = [bench.start("run", "grid.yaml", "--store", f"{bench.store}{i}") for i in range(2)]
    ended = [(process.communicate(timeout=400), process.returncode) for process in both]
    for (out, err), code in ended:
        assert code == 0 and "executed" in err, out + err


@pytest.mark.exhaustive
def test_a_session_that_rays_client_server_does_not_start_is_tried_again(bench: Bench) -> None:
    """The first process of the client server dies at its start, as Ray's sometimes do on a busy head."""
    bench.write(LIGHT)
    fault, died = bench.folder / "fault", bench.folder / "died"
    fault.mkdir()
    (fault / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"if '--mode=specific-server' in sys.orig_argv and not os.path.exists({str(died)!r}):\n"
        f"    open({str(died)!r}, 'w').close()\n"
        "    os._exit(1)\n"
    )
    head = Head(cpus=2, env={"PYTHONPATH": str(fault)})
    try:
        bench.env = head.env
        done = bench.call("run", "grid.yaml", "--store", bench.store, "--address", head.client)
    finally:
        head.stop()
    assert died.exists() and "trying again" in done.stderr and "executed" in done.stdout, done.stderr
