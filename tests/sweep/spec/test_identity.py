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

from ssl_sweep.data_ops.sources.registry import DigitsSource, SyntheticSource
from ssl_sweep.data_ops.views.policy import simclr_policy
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.sweep.spec.identity import canonical_json, full_form, spec_difference, stage_id
from ssl_sweep.sweep.spec.specs import FeatureSpec, PoolPart, PrepareSpec, PretrainSpec, ProbeSpec

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
    """The ids of a small sweep on invented fingerprints: two pools, their features and probes."""
    ids: dict[str, str] = {}
    for name, parts in {
        "alone": (PoolPart("fingerprint-a", 2000),),
        "pool": (PoolPart("fingerprint-a", 1000, 1), PoolPart("fingerprint-b", 1000, 1)),
    }.items():
        ids[f"{name}"] = encoder = stage_id("pretrain", PretrainSpec(CONFIG, parts))
        ids[f"{name} train"] = train = stage_id("features", FeatureSpec(encoder, "fingerprint-b", "train"))
        ids[f"{name} test"] = test = stage_id("features", FeatureSpec(encoder, "fingerprint-b", "test"))
        ids[f"{name} 50"] = stage_id("probe", ProbeSpec((train,), (test,), 50, "uniform", 0, ProbeConfig()))
        ids[f"{name} 500"] = stage_id(
            "probe", ProbeSpec((train,), (test,), 500, "stratified", 2, ProbeConfig())
        )
    damaged = PretrainSpec(CONFIG, (PoolPart("fingerprint-a", 2000),), "jpeg-10")
    ids["damaged"] = stage_id("pretrain", damaged)
    ids["prepare"] = stage_id("prepare", PrepareSpec(SyntheticSource("objects"), 32, "signature"))
    return ids


FROZEN = {
    "alone": "f85bd8f418",
    "alone train": "3bb7f7c850",
    "alone test": "7ec29d3811",
    "alone 50": "d958bd62ab",
    "alone 500": "461b44f41e",
    "pool": "d0dc146fb5",
    "pool train": "6c0e697263",
    "pool test": "b561d1527e",
    "pool 50": "f09166546a",
    "pool 500": "bd78c24744",
    "damaged": "596079f4c0",
    "prepare": "ea281ae927",
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


def test_each_field_of_a_spec_is_in_its_id() -> None:
    spec = PretrainSpec(CONFIG, (PoolPart("f", 100, 1),), "none", 0)
    others = [
        dataclasses.replace(spec, parts=(PoolPart("g", 100, 1),)),
        dataclasses.replace(spec, parts=(PoolPart("f", 101, 1),)),
        dataclasses.replace(spec, parts=(PoolPart("f", 100, 2),)),
        dataclasses.replace(spec, corruption="jpeg-10"),
        dataclasses.replace(spec, corruption_seed=1),
        dataclasses.replace(spec, config=dataclasses.replace(CONFIG, batch=64)),
        dataclasses.replace(spec, config=dataclasses.replace(CONFIG, views=simclr_policy(32, mode="affine"))),
    ]
    assert len({stage_id("pretrain", s) for s in [spec, *others]}) == len(others) + 1
    assert stage_id("pretrain", spec, version=2) != stage_id("pretrain", spec)
    digits, synthetic = PrepareSpec(DigitsSource(), 32, "s"), PrepareSpec(SyntheticSource("objects"), 32, "s")
    assert stage_id("prepare", digits) != stage_id("prepare", synthetic)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, lambda: 0, object(), {1: "a"}, b"x", [set()]]
)
def test_what_has_no_stable_text_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json({"field": value})


def test_a_difference_names_the_fields() -> None:
    stored = json.loads(json.dumps(full_form(PretrainSpec(CONFIG, (PoolPart("f", 100),)))))
    assert spec_difference(stored, PretrainSpec(CONFIG, (PoolPart("f", 100),))) == []
    asked = PretrainSpec(dataclasses.replace(CONFIG, temperature=0.5), (PoolPart("f", 200),))
    assert spec_difference(stored, asked) == [
        "config.temperature: stored 0.2, asked 0.5",
        "parts[0].images: stored 100, asked 200",
    ]
    assert spec_difference({**stored, "gone": 1}, PretrainSpec(CONFIG, (PoolPart("f", 100),))) == [
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
