"""The published numbers lie over one's own where both share axes, marked as such; else they stand beside."""

from __future__ import annotations

import matplotlib
import pytest
from results_frame import Table

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures import domain, granularity, pretext, quality, quantity
from ssl_sweep.sweep.report.figures.base import NARROW, WIDE, Drawn, Figure
from ssl_sweep.sweep.report.figures.published import with_published
from ssl_sweep.sweep.report.paper import paper_numbers

_LEVELS = (
    ("label", 10),
    ("genus", 5),
    ("family", 4),
    ("order", 3),
    ("class", 3),
    ("phylum", 2),
    ("kingdom", 2),
)


def compared(drawn: list[Drawn], name: str) -> Figure:
    (found,) = [one for one in with_published(drawn, paper_numbers()) if one.name == name]
    assert isinstance(found, Figure)
    return found


def names(drawn: list[Drawn]) -> list[str]:
    return [one.name for one in with_published(drawn, paper_numbers()) if isinstance(one, Figure)]


def axes(drawn: Figure, width: float = WIDE) -> list[matplotlib.axes.Axes]:
    with matplotlib.rc_context(style.rc()):
        return list(drawn.draw(width).axes)


def dashed(axis: matplotlib.axes.Axes) -> dict[str, list[tuple[float, float]]]:
    """The published lines of a panel by the colour they have."""
    lines = [
        one for one in axis.lines if one.is_dashed() and one.get_linestyle() == "--" and len(one.get_xdata())
    ]
    return {
        f"{one.get_color()} {i}": list(zip(one.get_xdata(), one.get_ydata(), strict=True))
        for i, one in enumerate(lines)
    }


def sized(**columns: object) -> Table:
    table = Table(n_test=100)
    for images in (50_000, 1_000_000):
        for labels in (10_000, 50_000):
            table.add(0.3, images=images, n_labels=labels, **columns)
    return table


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_curves_of_other_data_are_the_papers_extremes_in_grey(width: float) -> None:
    own = quantity.draw(sized().frame())
    drawn = compared(own, "quantity")
    (axis,) = axes(drawn, width)
    lines = dashed(axis)
    assert len(lines) == 3  # 50k, 1M and from scratch, on ImageNet
    assert [(10_000, pytest.approx(36.8)), (50_000, pytest.approx(49.8))] in [
        line[:2] for line in lines.values()
    ]
    shown = [text.get_text() for text in axis.texts]
    assert {"Cole: 50k", "Cole: 1M", "Cole: from scratch"} <= set(shown)
    legend = [text.get_text() for text in axis.get_figure().legends[0].get_texts()]  # type: ignore[union-attr]
    assert "Cole et al., ImageNet: 1M images" in legend and "50k images" in legend
    assert "Dashed: as published (Cole et al. 2022, Fig. 2 top; ImageNet)" in drawn.caption
    assert "on other and more images" in drawn.caption
    theirs = drawn.data[drawn.data["published_on"].notna()]
    assert set(theirs["published_on"]) == {"ImageNet"} and (theirs["reading_error"] > 0).all()
    assert names(own)[:2] == ["quantity", "quantity-paper"], "its other data sets and sizes are beside it"


def test_curves_of_the_same_data_are_all_there_in_ones_own_colours() -> None:
    own = quantity.draw(sized(pretrain_domain="imagenet", eval_domain="imagenet").frame())
    drawn = compared(own, "quantity")
    (axis,) = axes(drawn)
    assert len(dashed(axis)) == 6
    mine = {line.get_label(): line.get_color() for line in axis.lines}
    assert f"{mine['50k images']}" in {key.split()[0] for key in dashed(axis)}
    assert "other and more images" not in drawn.caption
    assert names(own) == ["quantity"], "the overlay says the same"


def test_cells_that_both_tables_have_show_both_numbers() -> None:
    table = Table(n_test=100)
    for source in ("inat21", "imagenet"):
        for target in ("inat21", "imagenet"):
            table.add(0.4, pretrain_domain=source, eval_domain=target, images=1_000_000, labels="all")
            pool = {"pretrain_domain": "imagenet+inat21", "images": 500_000, "labels": "all"}
            table.add(0.3, eval_domain=target, **pool)
        table.add(0.3, pretrain_domain=source, eval_domain=source, images=500_000, labels="all")
        table.add(0.7, method="random", protocol="fine-tune", eval_domain=source, labels="all")
    own = domain.draw(table.frame())
    (axis,) = axes(compared(own, "cross-domain"))
    places = {
        text.get_text(): tuple(int(v) for v in text.get_position())
        for text in axis.texts
        if text.get_text().startswith("published")
    }
    columns = [tick.get_text() for tick in axis.get_xticklabels()]
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    assert len(places) == 6  # both domains on both, and from scratch
    assert places["published 37.3"] == (columns.index("inat21"), rows.index("imagenet · 1M"))
    assert places["published 79.1"] == (columns.index("inat21"), rows.index(domain.SUPERVISED))
    (pooled,) = axes(compared(own, "pooled"))
    assert "published 44.4" in [
        text.get_text() for text in pooled.texts
    ]  # iNat21 + ImageNet, in either order
    assert names(own) == ["cross-domain", "pooled"]


def test_a_matrix_of_other_domains_has_the_papers_beside_it() -> None:
    table = Table(n_test=100)
    for domain_ in ("scenes", "objects"):
        table.add(0.4, eval_domain=domain_)
    own = domain.draw(table.frame())
    assert names(own) == ["cross-domain", "cross-domain-paper"]
    theirs = compared(own, "cross-domain-paper")
    cell = theirs.data[(theirs.data["row"] == "ImageNet · 1M") & (theirs.data["column"] == "iNat21")]
    assert cell["mean"].tolist() == [pytest.approx(37.3)] and "printed digits" in theirs.caption
    (axis,) = axes(theirs)
    bold = [text.get_text() for text in axis.texts if text.get_weight() == "bold"]
    assert sorted(bold) == ["49.3", "50.1", "64.4", "76.9"]


def test_drops_of_the_same_kind_of_damage_are_open_marks_with_their_numbers() -> None:
    table = Table(n_test=100)
    for method in ("simclr", "supervised"):
        for corruption in ("none", "jpeg-10", "downsample-4x", "blur-3"):
            table.add(0.4, method=method, corruption=corruption)
    own = quality.draw(table.frame())
    drawn = compared(own, "corruption")
    (axis,) = axes(drawn)
    marks = [one for one in axis.lines if one.get_markerfacecolor() == "none"]
    values = {round(float(x), 1) for one in marks for x in one.get_xdata()}
    assert values == {6.0, 4.3, 34.0, 6.4}
    assert {"6.0", "34.0"} <= {text.get_text() for text in axis.texts}
    assert names(own) == ["corruption"]


def test_levels_of_the_same_data_are_dashed_and_of_other_data_beside() -> None:
    def drawn(domain_: str) -> list[Drawn]:
        own = {"pretrain_domain": domain_, "eval_domain": domain_, "levels": _LEVELS, "coarser": 0.05}
        return granularity.draw(Table(n_test=100).add(0.4, **own).frame())

    (axis,) = axes(compared(drawn("iNat21"), "granularity"))
    simclr = [line for key, line in dashed(axis).items() if key.startswith(style.hue(0))]
    assert simclr[0][0] == (-6.0, pytest.approx(97.6)) and simclr[0][-1] == (0.0, pytest.approx(50.3))
    assert names(drawn("iNat21")) == ["granularity"]
    assert names(drawn("plankton")) == ["granularity", "granularity-paper"]


def test_rotnet_and_the_batch_table_lie_over_ones_own() -> None:
    table = Table(n_test=100)
    for labels in (200, 1000):
        table.add(0.4, method="rotation", protocol="fine-tune", n_labels=labels)
        table.add(0.3, method="random", protocol="fine-tune", n_labels=labels)
    for batch in (64, 128):
        for epochs in (10, 20):
            table.add(0.4, batch=batch, epochs=epochs, eval_domain="land", pretrain_domain="land")
    own = pretext.draw(table.frame())
    (rotation,) = axes(compared(own, "rotation"))
    assert (200.0, pytest.approx(64.63)) in [point for line in dashed(rotation).values() for point in line]
    (batches,) = axes(compared(own, "batch-epochs"))
    assert {text.get_text() for text in batches.texts} == {"Chen: batch 256", "Chen: batch 8192"}
