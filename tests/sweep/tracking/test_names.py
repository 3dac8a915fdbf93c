"""Whatever a level, a parameter or a folder is called, MLflow takes it, and no two share a name."""

from __future__ import annotations

import string
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import (
    _validate_experiment_name,
    _validate_metric,
    _validate_param,
    _validate_tag,
)

from ssl_sweep.ssl_core.evaluation.metrics import METRICS
from ssl_sweep.sweep.tracking.names import MAX_NAME, MAX_PARAM, name_of, sqlite_file, sqlite_uri, value_of
from ssl_sweep.sweep.tracking.runs import level_metric

HOSTILE = st.one_of(
    st.text(),
    st.text("/. :-_aA\n\0\\'\"()%?#é\u0301", max_size=12),
    st.text("ab/(", min_size=200, max_size=400),
    st.text(st.characters(codec=None), max_size=10),  # lone surrogates too
)


@given(HOSTILE)
@example("species (latin)")
@example("")
@example("..")
@example("a//b")
@example("a\n")
def test_every_name_is_accepted(text: str) -> None:
    name = name_of(text)
    _validate_metric(name, 0.5, 0, 0)
    _validate_param(name, "value")
    _validate_tag(name, "value")
    _validate_experiment_name(name)
    assert "\n" not in name
    name.encode()
    assert name_of(text) == name


@given(HOSTILE, HOSTILE)
@example("species (latin)", "species [latin]")
@example("a" * 300, "a" * 301)
@example("a(", name_of("a("))
def test_two_texts_never_have_one_name(one: str, two: str) -> None:
    assume(one != two)
    assert name_of(one) != name_of(two)
    assert one not in (name_of(one, (one,)), name_of(two, (one,)))


@pytest.mark.parametrize(
    "text", ["top1_species", "lr", "a b", "dwc:species", "études", "train/loss", "x-20261201"]
)
def test_an_ordinary_name_stays_as_it_is(text: str) -> None:
    assert name_of(text) == text


@given(st.lists(st.sampled_from(["", "x", "std_err", "std_err_x", "top5", "(", "err"]), unique=True))
def test_metrics_of_two_levels_never_have_one_name(levels: list[str]) -> None:
    names = [level_metric(metric, level) for metric, level in product(METRICS, levels)]
    assert Counter([*names, *METRICS]).most_common(1)[0][1] == 1


@given(HOSTILE, st.sampled_from([MAX_NAME, MAX_PARAM]))
def test_every_value_can_be_stored_and_long_ones_stay_different(text: str, most: int) -> None:
    value = value_of(text, most)
    value.encode()
    assert len(value) <= most and "\0" not in value
    long = "x" * most
    assert value_of(long + text + "a", most) != value_of(long + text + "b", most)


@settings(deadline=None)  # the first call imports a library
@given(st.text(string.printable.replace("/", "") + "é☃", min_size=1, max_size=20))
@example("a?b")
@example("a%41b")
@example("100%")
@example("a#b;c@d:e'f")
def test_an_address_leads_back_to_the_file(name: str) -> None:
    file = Path("/store") / name / "mlflow.db"
    assert sqlite_file(sqlite_uri(file)) == file
    if not set("?%") & set(name):
        assert sqlite_uri(file) == f"sqlite:///{file}"


def test_other_addresses_name_no_file() -> None:
    for address in ("http://127.0.0.1:5000", "postgresql://host/db", "sqlite://", "sqlite:///:memory:"):
        assert sqlite_file(address) is None
