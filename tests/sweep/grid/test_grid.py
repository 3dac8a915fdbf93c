from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.grid.load import load_grid
from ssl_sweep.sweep.grid.schema import GridModel, grid_schema
from ssl_sweep.sweep.grid.sizes import parse_size

Problems = Callable[..., list[str]]


def test_every_problem_is_shown_at_once_with_its_place(problems: Problems) -> None:
    found = problems("""\
        name: my grid
        datasets:
          objects: {source: synthetic, domain: objets}
          scenes: {source: synthetic, domain: scenes, trian: 5}
          photos: {source: parqet}
          gone: {source: parquet, train: nowhere/x.parquet}
          digits: {source: digits}
        pretrain:
          - metod: simclr
            domain: [objects, digts]
            images: [50x]
            corruption: [none, downsampl-2x]
            seed: []
          - {domain: digits, images: [50k, 100], batch: 256}
          - {domain: digits, imges: 5}
          - {method: random, domain: digits}
        evaluate:
          - {domain: digits, labels: 0%, draw: unifrm}
          - {domain: digits, labels: 1M}
        compute: {workers: 0, devise: gpu}
        """)
    expected = [
        ("grid.yaml:1:7: ", "name: should match pattern"),
        ("grid.yaml:3:40: ", "did you mean 'objects'?"),
        ("grid.yaml:4:47: ", "unknown key 'trian' (did you mean 'train'?)"),
        ("grid.yaml:5:20: ", "no source 'parqet' (did you mean 'parquet'?)"),
        ("grid.yaml:6:34: ", "nowhere/x.parquet"),
        ("grid.yaml:9:5: ", "unknown key 'metod' (did you mean 'method'?)"),
        ("grid.yaml:10:23: ", "no dataset 'digts' (did you mean 'digits'?)"),
        ("grid.yaml:11:14: ", "'50x' is not a size; write 500, 50k, 1M, 10% or all"),
        ("grid.yaml:12:24: ", "downsampl-2x"),
        ("grid.yaml:13:11: ", "seed: is empty"),
        ("grid.yaml:14:31: ", "50k is more than the 1258 training images of 'digits'"),
        ("grid.yaml:14:49: ", "batch 256 is larger than 100 images"),
        ("grid.yaml:15:22: ", "unknown key 'imges' (did you mean 'images'?)"),
        ("grid.yaml:16:22: ", "not used by a random encoder"),
        ("grid.yaml:18:30: ", "0% is not a share"),
        ("grid.yaml:18:40: ", "no 'unifrm' (did you mean 'uniform'?)"),
        ("grid.yaml:19:30: ", "1M is 1000000 images; 'digits' has 1258"),
        ("grid.yaml:20:20: ", "workers: should be greater than or equal to 1, not 0"),
        ("grid.yaml:20:23: ", "unknown key 'devise' (did you mean 'device'?)"),
    ]
    assert [
        line for line, (place, _) in zip(found, expected, strict=True) if not line.startswith(place)
    ] == []
    for line, (_, text) in zip(found, expected, strict=True):
        assert text in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "grid.yaml:1:1: a grid is a mapping"),
        ("[1]", "grid.yaml:1:1: a grid is a mapping"),
        ("name: x\n", "grid.yaml:1:1: the grid needs the key 'datasets'"),
        ("datasets: {a: 5}\n", "datasets.a needs the key 'source'"),
        ("datasets: {a b: {source: digits}}\n", "'a b' cannot name a dataset"),
        (
            "datasets: {a: {source: parquet, train: '${SSL_SWEEP_NOPE}/x'}}\n",
            "grid.yaml:1:40: the environment",
        ),
        ("evaluate: []\n", "evaluate: is empty"),
        ("exclude: [5]\n", "a rule maps results columns"),
        ("pretrain: {method: simcrl}\n", "no method 'simcrl' (did you mean 'simclr'?)"),
        ("pretrain: {encoder: resnet51}\n", "no encoder 'resnet51' (did you mean 'resnet"),
        ("pretrain: {domain: a}\n", "pretrain needs the key 'images'"),
        (
            "evaluate: {domain: d, labels: 1, knn_k: 5}\n",
            "knn_k: only used by protocol knn; add protocol: knn",
        ),
        (
            "evaluate: {domain: d, labels: 1, protocol: knn, c_path: simclr}\n",
            "c_path: only used by protocol linear; add",
        ),
        (
            "evaluate: {domain: d, labels: 1, protocol: fine-tune, representation: h}\n",
            "representation: only used by protocol linear or knn",
        ),
        (
            "evaluate: {protocol: knn, knn_temperature: 0.001}\n",
            "knn_temperature: should be greater than or equal to 0.005, not 0.001",
        ),
        ("pretrain: {learning_rate: -1}\n", "learning_rate: should be greater than 0, not -1"),
    ],
)
def test_one_problem(problems: Problems, text: str, message: str) -> None:
    assert any(message in line for line in problems(text)), problems(text)


def test_settings_that_do_not_fit_each_other_are_located(problems: Problems) -> None:
    (line,) = problems(
        "name: x\ndatasets: {d: {source: digits}}\n"
        "pretrain: {domain: d, images: all, epochs: 3, warmup_epochs: 5}\n"
        "evaluate: {domain: d, labels: all}\n"
    )
    assert line.startswith("grid.yaml:3:62: warmup_epochs is 5")


def test_overrides_reach_every_block_or_one(sweeps: Any) -> None:
    path = sweeps.write()
    grid = load_grid(
        path, ["pretrain.0.epochs=[5, 6]", "name=other", "compute.workers=2", "evaluate.labels=all"]
    )
    assert grid.pretrain[0].value.epochs == (5, 6)
    assert grid.name == "other"
    assert grid.compute.workers == 2
    assert grid.evaluate[0].value.labels == (parse_size("all"),)
    # a random encoder has no images: an override of every block passes it over
    assert load_grid(path, ["pretrain.images=100"]).pretrain[1].value.images == ()


def test_overrides_that_fit_nothing_are_refused(problems: Problems) -> None:
    found = problems(
        None,
        "pretrain.epocs=5",
        "pretrian.epochs=5",
        "pretrain.7.epochs=5",
        "datasets.objcts.train=5",
        "epochs",
        "name.x=1",
        "pretrain.epochs=many",
    )
    text = "\n".join(found)
    assert "override pretrain.epocs=5: unknown key 'epocs' (did you mean 'epochs'?)" in text
    assert "override pretrian.epochs=5: unknown key 'pretrian' (did you mean 'pretrain'?)" in text
    assert "override pretrain.7.epochs=5: pretrain has 2 entries, counted from 0" in text
    assert "override datasets.objcts.train=5: no 'objcts' in datasets (did you mean 'objects'?)" in text
    assert "override epochs: is not of the form key.path=value" in text
    assert "override name.x=1: name is 'demo', which has no 'x' inside" in text
    assert "override pretrain.epochs=many: epochs: should be a valid integer" in text


def test_paths_start_from_the_file_and_overridden_ones_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grids").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("IMAGES", "/images")
    path = tmp_path / "grids" / "grid.yaml"
    path.write_text(
        "name: x\ndatasets:\n  a: {source: folder, train: ../a, test_fraction: 0.1}\n"
        "  b: {source: folder, train: '${IMAGES}/b', test: '${NOT_SET:-rest}/t'}\n"
        "  c: {source: folder, train: c}\n"
        "pretrain: {domain: a, images: all}\nevaluate: {domain: a, labels: all}\n"
    )
    datasets = load_grid(path, ["datasets.c.train=mine"]).datasets
    assert datasets["a"].value.to_source().train == str(tmp_path / "a")
    assert datasets["b"].value.to_source().train == "/images/b"
    assert datasets["b"].value.to_source().test == str(tmp_path / "grids/rest/t")
    assert datasets["c"].value.to_source().train == str(tmp_path / "here/mine")


@pytest.mark.parametrize(
    ("text", "canonical", "of_1000"),
    [
        (500, "500", 500),
        ("50k", "50000", 50_000),
        ("1M", "1000000", 1_000_000),
        ("2.5k", "2500", 2500),
        ("50_000", "50000", 50_000),
        (1e3, "1000", 1000),
        ("10%", "10%", 100),
        ("0.5%", "0.5%", 5),
        ("0.1 %", "0.1%", 1),
        ("100%", "100%", 1000),
        ("all", "all", 1000),
    ],
)
def test_sizes(text: Any, canonical: str, of_1000: int) -> None:
    assert (parse_size(text).canonical, parse_size(text).resolve(1000)) == (canonical, of_1000)


@pytest.mark.parametrize("text", [0, -5, "0%", "101%", "x", 0.1, "1.5", True, None, [], "5kk", "0.0001k"])
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(ValueError, match=r"size|share|small|whole"):
        parse_size(text)


def test_the_schema_describes_every_key(sweeps: Any) -> None:
    schema = grid_schema()
    models = [schema, *(m for name, m in schema["$defs"].items() if "properties" in m)]
    assert len(models) > 6
    for model in models:
        for key, value in model["properties"].items():
            assert value.get("description"), f"{model['title']}.{key}"
        assert model["additionalProperties"] is False
    images = schema["$defs"]["PretrainBlock"]["properties"]["images"]
    assert {branch.get("type") for branch in images["anyOf"]} == {"array", None}
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_s_model_and_the_checks_accept_the_same_grid(sweeps: Any) -> None:
    import yaml

    path = sweeps.write()
    model = GridModel.model_validate(yaml.safe_load(path.read_text()))
    grid = load_grid(path)
    assert model.pretrain == tuple(entry.value for entry in grid.pretrain)
    assert model.evaluate == tuple(entry.value for entry in grid.evaluate)
    assert dict(model.datasets) == {name: entry.value for name, entry in grid.datasets.items()}


def test_a_grid_is_read_without_its_datasets(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        "name: x\ndatasets: {a: {source: parquet, train: gone.parquet}}\n"
        "pretrain: {domain: b, images: 5}\nevaluate: {domain: a, labels: 5}\n"
    )
    with pytest.raises(GridError) as error:
        load_grid(path)
    assert [problem.message for problem in error.value.problems] == ["no dataset 'b' (one of: a)"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("compute.price_per_hour=.inf", "price_per_hour: should be a finite number"),
        ("compute.price_per_hour=.nan", "price_per_hour: should be a finite number"),
        (f"compute.workers={10**30}", "workers: should be less than or equal to 1000000000000"),
        (f"pretrain.0.epochs={10**30}", "epochs: should be less than or equal to 1000000000000"),
        (f"pretrain.0.images={10**30}", "choose at most 1,000,000,000,000"),
        (f"datasets.objects.train={10**30}", "train: should be less than or equal to 1000000000000"),
    ],
)
def test_numbers_without_bounds_are_refused(problems: Problems, override: str, said: str) -> None:
    (problem,) = [each for each in problems(None, override) if "no dataset" not in each]
    assert said in problem
