"""Methods of other distributions: found by their entry points, planned without being imported, trained."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.ssl_core.config.plugins import added
from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.sweep.commands.doctor import diagnose
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.run.run import datasets_of
from ssl_sweep.sweep.stages.perform import perform_light, run_training

ROOT = Path(__file__).parents[3]
PLUGINS = ROOT / "tests" / "helpers" / "plugins"
GRID = """\
name: added
datasets: {objects: {source: synthetic, domain: objects, train: 60, test: 30}}
pretrain:
  - {method: [METHODS], domain: objects, images: 40, batch: 8, epochs: 1, temperature: 0.3}
evaluate: {domain: objects, labels: 30}
"""
Install = Callable[..., Path]


def grid(*methods: str) -> str:
    return GRID.replace("METHODS", ", ".join(methods))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution (name, version, entry points) where Python finds it; gives its folder."""

    def put(name: str, version: str, points: str, group: str = "ssl_sweep.methods") -> Path:
        folder = tmp_path / f"site-{name}-{version}"
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n")
        monkeypatch.syspath_prepend(folder)
        added.cache_clear()
        return folder

    yield put
    added.cache_clear()


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(PLUGINS)
    added.cache_clear()
    yield
    added.cache_clear()


def trainings(plan: Plan) -> dict[str, Any]:
    return {stage.spec.config.method: stage for stage in plan.pretrainings}  # type: ignore[union-attr]


def test_planning_knows_an_added_method_and_imports_neither_it_nor_torch(sweeps: Any) -> None:
    path = sweeps.write(grid("sleep"))
    program = (
        "import sys; from ssl_sweep.sweep.planning.planner import validate_grid;"
        " print(validate_grid(sys.argv[1]));"
        " print(sorted({'torch', 'ray', 'sleep_method'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(path)]
    path_of = {"PYTHONPATH": f"{PLUGINS}:{ROOT}"}
    found = subprocess.run(command, env=path_of, capture_output=True, text=True, check=True).stdout
    assert "1 cells, 1 pretrainings" in found and found.endswith("[]\n")


def test_names_are_checked_against_what_is_installed(
    sleep: None, problems: Callable[..., list[str]], sweeps: Any
) -> None:
    assert trainings(sweeps.plan(grid("sleep")))["sleep"].label.startswith("sleep · objects")
    (problem,) = problems(grid("slep"))
    assert problem.endswith("method: no method 'slep' (did you mean 'sleep'?)")
    assert problem.startswith("grid.yaml:4:"), problem


def test_without_the_distribution_there_is_no_such_method(problems: Callable[..., list[str]]) -> None:
    (problem,) = problems(grid("sleep"))
    assert "no method 'sleep'" in problem


def test_the_version_is_part_of_what_it_trains_and_of_nothing_else(sweeps: Any, install: Install) -> None:
    alone = trainings(sweeps.plan(grid("simclr")))["simclr"]
    install("lab", "1.0", "mine = lab:Mine")
    first = trainings(sweeps.plan(grid("mine", "simclr")))
    assert first["mine"].spec.config.method_version == "lab 1.0"
    assert first["mine"].spec.config.temperature == 0.3, "an added method may look at any setting"
    install("lab", "1.1", "mine = lab:Mine")
    second = trainings(sweeps.plan(grid("mine", "simclr")))
    assert first["mine"].id != second["mine"].id
    assert {alone.id} == {first["simclr"].id} == {second["simclr"].id}


def test_no_distribution_takes_a_built_in_name_or_anothers(
    sweeps: Any, install: Install, problems: Callable[..., list[str]]
) -> None:
    from ssl_sweep.ssl_core.methods.build import method_class

    before = trainings(sweeps.plan(grid("simclr")))["simclr"].id
    install("evil", "6.6.6", "simclr = evil:SimCLR\nmine = evil:Mine")
    install("lab", "1.0", "mine = lab:Mine")
    assert trainings(sweeps.plan(grid("simclr")))["simclr"].id == before
    assert method_class("simclr").__module__ == "ssl_sweep.ssl_core.methods.simclr"
    (problem,) = problems(grid("mine"))
    assert "method 'mine' comes from evil 6.6.6 and lab 1.0; uninstall all but one" in problem
    said = [check.detail for check in _checks("methods")]
    assert any("'simclr' of evil 6.6.6 is left out: the name is built in" in text for text in said)


def _checks(name: str) -> list[Any]:
    found = []
    for check in diagnose("unused", None, None):
        if check.name == "gpu":
            break  # the slow ones follow
        found += [check] if check.name == name else []
    return found


def test_a_node_with_another_version_refuses_to_train(sleep: None) -> None:
    from ssl_sweep.ssl_core.config.pretrain import default_config
    from ssl_sweep.ssl_core.methods.build import build_method

    config = default_config("resnet-demo", 32, method="sleep", method_version="sleep-method 0.9")
    with pytest.raises(ValueError, match=r"planned as sleep-method 0\.9, and here it is sleep-method 1\.0"):
        build_method(config)


def test_a_method_that_cannot_be_loaded_names_its_distribution(install: Install) -> None:
    from ssl_sweep.ssl_core.methods.build import method_class

    install("lab", "1.0", "mine = nowhere_to_be_found:Mine\nother = textwrap:dedent")
    with pytest.raises(ValueError, match=r"'mine' of lab 1\.0 cannot be loaded.*nowhere_to_be_found"):
        method_class("mine")
    with pytest.raises(ValueError, match=r"textwrap:dedent is not a subclass of .*Method"):
        method_class("other")
    with pytest.raises(ValueError, match=r"'missing' is not trained, or not installed here.*, mine"):
        method_class("missing")


def test_what_is_stored_is_read_where_its_method_is_not_installed_any_more(sleep: None) -> None:
    from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
    from ssl_sweep.sweep.spec.identity import from_form, full_form
    from ssl_sweep.sweep.stages.encoder_card import preset_of

    stored = full_form(default_config("resnet-demo", 32, method="sleep", temperature=0.3))
    stored |= {"method": "gone", "method_version": "lab 1.0"}
    assert preset_of(from_form(PretrainConfig, stored)) == {
        "name": "gone, demo",
        "epochs": 100,
        "changed": {"temperature": 0.3},
    }


def test_the_documented_method_of_ones_own_trains_and_is_judged(
    sweeps: Any, sleep: None, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "methods.md").read_text().partition("## A method of your own")[2]
    code, project = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "toml"))  # type: ignore[index]
    about = tomllib.loads(project)["project"]
    points = about["entry-points"]["ssl_sweep.methods"]
    folder = install(about["name"], about["version"], "\n".join(f"{k} = {v}" for k, v in points.items()))
    (folder / "barlow.py").write_text(code)
    monkeypatch.delitem(sys.modules, "barlow", raising=False)
    text = grid("barlow", "sleep")
    sweeps.store.check_writable()
    bare = Runtime(store=str(sweeps.store.root), stop_file=sweeps.folder / "stop")
    perform_light(sweeps.plan(text).prepares, bare)
    plan = sweeps.plan(text)
    runtime = Runtime(store=bare.store, stop_file=bare.stop_file, datasets=datasets_of(plan, sweeps.store))
    losses = {}
    for method, stage in trainings(plan).items():
        path = sweeps.store.path("pretrain", stage.id)
        run_training(runtime, stage, TrainPlan(), LocalReporter(path))
        losses[method] = sweeps.store.complete("pretrain", stage.id).outputs["loss"]
    for kind in ("features", "probe"):
        outcomes = [perform_light([n], runtime)[0] for n in plan.stages if n.kind == kind]
        assert {outcome.status for outcome in outcomes} == {"complete"}, outcomes
    assert 0 < losses["barlow"] < 1e4 and losses["sleep"] > 0
    assert not sweeps.plan(text).to_run
