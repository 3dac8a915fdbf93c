from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass, field, make_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_sweep.data_ops.sources.registry import SOURCES, DigitsSource, SyntheticSource
from ssl_sweep.data_ops.views.policy import simclr_policy
from ssl_sweep.ssl_core.config.finetune import default_finetune
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import METHODS
from ssl_sweep.sweep.spec.identity import canonical_json, from_form, full_form, spec_difference, stage_id
from ssl_sweep.sweep.spec.specs import (
    FeatureSpec,
    FinetuneSpec,
    PoolPart,
    PrepareSpec,
    PretrainSpec,
    ProbeSpec,
)

CONFIG = PretrainConfig(
    encoder="resnet18",
    epochs=20,
    batch=128,
    seed=3,
    optimizer="sgd",
    learning_rate=0.4,
    warmup_epochs=2.0,
    temperature=0.2,
    views=simclr_policy(32, strength=0.5, blur=False),
)


def reference() -> dict[str, str]:
    """The ids of a small sweep on invented digests: two encoders, their features and probes."""
    ids: dict[str, str] = {}
    for name in ("alone", "pool"):
        ids[f"{name}"] = encoder = stage_id("pretrain", PretrainSpec(CONFIG, f"images {name}"))
        ids[f"{name} train"] = train = stage_id("features", FeatureSpec(encoder, "train of b"))
        ids[f"{name} test"] = test = stage_id("features", FeatureSpec(encoder, "test of b"))
        ids[f"{name} 50"] = stage_id("probe", ProbeSpec((train,), (test,), "50 labels", 0, ProbeConfig()))
        ids[f"{name} 500"] = stage_id("probe", ProbeSpec((train,), (test,), "500 labels", 2, ProbeConfig()))
        ids[f"{name} near"] = stage_id("probe", ProbeSpec((train,), (test,), "50 labels", 0, KnnConfig()))
        tuned = FinetuneSpec(encoder, "50 labels", 0, default_finetune("resnet18", 32))
        ids[f"{name} tuned"] = stage_id("finetune", tuned)
    ids["damaged"] = stage_id("pretrain", PretrainSpec(CONFIG, "images", corruption="jpeg-10"))
    labelled = dataclasses.replace(CONFIG, method="supervised")
    ids["labelled"] = stage_id("pretrain", PretrainSpec(labelled, "images", "labels"))
    for source in SOURCES.values():
        fields = {f.name: "x" for f in dataclasses.fields(source) if f.default is dataclasses.MISSING}
        ids[source.__name__] = stage_id("prepare", PrepareSpec(source(**fields), 32, "signature"))
    return ids


FROZEN = {
    "alone": "cd265471e2",
    "alone train": "5e260ebc1d",
    "alone test": "7e86138d88",
    "alone 50": "71d20bd0a2",
    "alone 500": "42c911726d",
    "alone near": "b07c1e1c66",
    "alone tuned": "04a1d851e0",
    "pool": "84c8a0c0b0",
    "pool train": "e0398730b5",
    "pool test": "330de7e2ae",
    "pool 50": "89e09516f4",
    "pool 500": "44eb728a4c",
    "pool near": "8ba07b67b1",
    "pool tuned": "bdff6b42aa",
    "damaged": "8afede8787",
    "labelled": "c3d3e575a1",
    "SyntheticSource": "c658314af0",
    "DigitsSource": "463e2e1352",
    "ParquetSource": "14fe50ca0e",
    "FolderSource": "27e086f483",
    "CsvSource": "94ac69eea0",
    "NpzSource": "a6bbb91ab4",
    "WebDatasetSource": "6e654a160d",
    "TorchvisionSource": "77ec7677d6",
    "TinyImageNetSource": "0090c74912",
    "ImageNetSource": "4483c0fd52",
    "INat21Source": "c3c01ac921",
    "Places365Source": "4a51baf7e6",
    "GeoLifeClefSource": "de521c35dd",
}


@pytest.mark.smoke
def test_the_ids_of_the_reference_sweep_are_frozen() -> None:
    # A change here makes every result that users have unfindable. If a stage's numbers change, raise its
    # number in VERSIONS; if a default changes, that is such a change.
    assert reference() == FROZEN
    assert len(set(FROZEN.values())) == len(FROZEN)


def test_ids_are_the_same_in_another_process() -> None:
    code = "from tests_identity import reference; import json; print(json.dumps(reference()))"
    loader = (
        f"import importlib.util as u, sys; s = u.spec_from_file_location('tests_identity', {__file__!r});"
        f"m = u.module_from_spec(s); sys.modules['tests_identity'] = m; s.loader.exec_module(m); {code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", loader],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert json.loads(done.stdout) == reference()


@dataclass(frozen=True)
class Inner:
    a: int = 1
    b: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    extra: tuple[int, ...] = ()


@pytest.mark.smoke
def test_a_new_field_with_a_neutral_default_changes_no_id() -> None:
    wider = make_dataclass("Inner", [("a", int, 1), ("b", float, 0.5), ("c", str, "neutral")], frozen=True)
    outer = make_dataclass(
        "Outer",
        [
            ("name", str),
            ("inner", Any, field(default_factory=wider)),
            ("extra", Any, ()),
            ("new", bool, False),
        ],
        frozen=True,
    )
    assert canonical_json(outer("x")) == canonical_json(Outer("x"))
    assert canonical_json(outer("x", wider(a=2))) == canonical_json(Outer("x", Inner(a=2)))
    assert canonical_json(outer("x", wider(c="other"))) != canonical_json(Outer("x"))
    # and what was stored before the field existed is still the same spec
    assert spec_difference(full_form(Outer("x", Inner(a=2))), outer("x", wider(a=2))) == []
    assert spec_difference(full_form(Outer("x")), outer("x", new=True)) == ["new: not stored, asked True"]


def test_each_field_of_a_spec_is_in_its_id_but_where_its_images_are() -> None:
    spec = PretrainSpec(CONFIG, "images", parts=(PoolPart("f", 100, 1),))
    others = [
        dataclasses.replace(spec, images="other"),
        dataclasses.replace(spec, labels="labels"),
        dataclasses.replace(spec, pixels="another rule"),
        dataclasses.replace(spec, corruption="jpeg-10"),
        dataclasses.replace(spec, corruption_seed=1),
        dataclasses.replace(spec, config=dataclasses.replace(CONFIG, batch=64)),
        dataclasses.replace(spec, config=dataclasses.replace(CONFIG, views=simclr_policy(32, mode="affine"))),
    ]
    assert len({stage_id("pretrain", s) for s in [spec, *others]}) == len(others) + 1
    assert stage_id("pretrain", spec, version=2) != stage_id("pretrain", spec)
    elsewhere = dataclasses.replace(spec, parts=(PoolPart("g", 100, 1),))
    assert stage_id("pretrain", elsewhere) == stage_id("pretrain", spec)
    assert spec_difference(full_form(spec), elsewhere) == []
    digits, synthetic = PrepareSpec(DigitsSource(), 32, "s"), PrepareSpec(SyntheticSource("objects"), 32, "s")
    assert stage_id("prepare", digits) != stage_id("prepare", synthetic)


def test_class_names_of_python_are_in_no_id() -> None:
    def renamed(value: Any, **parts: Any) -> Any:
        kind = dataclass(frozen=True, kw_only=True)(type("Renamed", (type(value),), {}))
        return kind(**{f.name: getattr(value, f.name) for f in dataclasses.fields(value)} | parts)

    def copies(value: Any, **parts: Any) -> None:
        assert canonical_json(renamed(value, **parts)) == canonical_json(value)

    config = renamed(CONFIG, views=renamed(CONFIG.views))
    copies(PretrainSpec(CONFIG, "images"), config=config)
    copies(ProbeSpec(("a",), ("b",), "labels", 0, ProbeConfig()), config=renamed(ProbeConfig()))
    copies(ProbeSpec(("a",), ("b",), "labels", 0, KnnConfig()), config=renamed(KnnConfig()))
    source = SyntheticSource("objects")
    copies(PrepareSpec(source, 32, "signature"), source=renamed(source))
    probes = (ProbeSpec(("a",), ("b",), "labels", 0, config) for config in (ProbeConfig(), KnnConfig()))
    assert len({stage_id("probe", probe) for probe in probes}) == 2


@pytest.mark.parametrize("method", [m for m in METHODS if m != "weights"])
def test_specs_are_read_back_as_they_were(method: str) -> None:
    config = default_config("resnet18", 96, method=method)
    specs = [
        PretrainSpec(config, "images", parts=(PoolPart("f", 100, draw="stratified", avoid=("g", "h")),)),
        FeatureSpec("encoder", "images", representation="layer1", fingerprint="f", split="test"),
        ProbeSpec(("a", "b"), ("c", "d"), "labels", 1, KnnConfig(k=3), "f", 50, level="coarse"),
        ProbeSpec(("a",), ("c",), "labels", 1, ProbeConfig(cs=(0.1, 1.0)), "f", 50),
        FinetuneSpec("a", "labels", 1, default_finetune("vit-s", 224), fingerprint="f"),
        PrepareSpec(SyntheticSource("objects", size=64), 32, "signature"),
    ]
    for spec in specs:
        stored = json.loads(json.dumps(full_form(spec)))
        assert from_form(type(spec), stored) == spec
        younger = {name: value for name, value in stored.items() if name not in ("pixels", "corruption_seed")}
        assert from_form(type(spec), younger | {"gone": 1}) == spec
    with pytest.raises(ValueError, match="not a FeatureSpec"):
        from_form(FeatureSpec, {"encoder": "e"})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, lambda: 0, object(), {1: "a"}, b"x", [set()]]
)
def test_what_has_no_stable_text_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json({"field": value})


def test_a_difference_names_the_fields() -> None:
    stored = json.loads(json.dumps(full_form(PretrainSpec(CONFIG, "f"))))
    assert spec_difference(stored, PretrainSpec(CONFIG, "f")) == []
    asked = PretrainSpec(dataclasses.replace(CONFIG, temperature=0.5), "g")
    assert spec_difference(stored, asked) == [
        "config.temperature: stored 0.2, asked 0.5",
        "images: stored 'f', asked 'g'",
    ]
    assert spec_difference({**stored, "gone": 1}, PretrainSpec(CONFIG, "f")) == [
        "gone: stored 1, no longer a field"
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


@given(json_values, json_values)
def test_different_values_have_different_texts(left: Any, right: Any) -> None:
    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    assert (canonical_json(left) == canonical_json(right)) == same
