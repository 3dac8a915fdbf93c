"""The papers' numbers: whole, plausible, and the ones that the reference prints."""

from __future__ import annotations

import pytest

from ssl_sweep.sweep.report.paper import paper_difference, paper_keys, paper_numbers


@pytest.mark.parametrize(
    ("figure", "where", "value", "evidence"),
    [
        ("table1", {"pretraining": "ImageNet", "eval": "iNat21"}, 0.373, "EXACT"),
        ("table2", {"pretraining": "iNat21+Places365", "eval": "Places365"}, 0.483, "EXACT"),
        ("fig2-linear", {"eval": "ImageNet", "images": 125_000, "labels": 50_000}, 0.371, "DIGITISED"),
        ("fig2-fine-tune", {"eval": "iNat21", "method": "from scratch", "labels": 50_000}, 0.02, "DIGITISED"),
        ("fig3", {"method": "byol", "labels": 1_000_000}, 0.456, "DIGITISED"),
        ("fig4-drop", {"method": "supervised", "corruption": "jpeg"}, 0.043, "DIGITISED"),
        ("fig5", {"eval": "iNat21", "method": "simclr", "level": "species"}, 0.503, "DIGITISED"),
        ("rotnet", {"method": "rotation", "labels": 200}, 0.6463, "EXACT"),
    ],
)
def test_numbers(figure: str, where: dict[str, object], value: float, evidence: str) -> None:
    found = paper_numbers().number(figure, **where)
    assert found is not None
    assert (found.value, found.evidence) == (value, evidence)


def test_each_place_has_one_number_and_a_tag() -> None:
    frame = paper_numbers().frame
    places = [name for name in frame.columns if name not in ("value", "error", "evidence", "source")]
    assert not frame.duplicated(places).any()
    assert set(frame["evidence"]) == {"EXACT", "DIGITISED", "READ", "SECONDARY"}
    assert frame["value"].between(-0.1, 1).all()
    assert (frame.loc[frame["evidence"] == "DIGITISED", "error"] > 0).all()
    assert frame.loc[frame["evidence"] == "EXACT", "error"].isna().all()


def test_the_finest_level_is_index_0() -> None:
    levels = paper_numbers().table("fig5", eval="iNat21", method="simclr").set_index("level_index")
    assert levels.loc[0, "level"] == "species" and levels.loc[6, "level"] == "kingdom"


@pytest.mark.parametrize("key", paper_keys())
def test_what_the_sources_found_can_be_said(key: str) -> None:
    assert "points (" in paper_difference(key)


def test_a_difference_is_said_with_its_reading_error() -> None:
    assert paper_difference("fig2-linear:last").endswith("+1.1 points (DIGITISED, ± 0.4)")
    assert paper_difference("") == ""
