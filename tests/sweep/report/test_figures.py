"""What the figures draw: means of the right rows, gaps where an answer is missing, one condition held at a
time."""

from __future__ import annotations

import itertools
import math

import matplotlib
import pandas as pd
import pytest
from results_frame import Table

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures import (
    cost,
    domain,
    granularity,
    pretext,
    quality,
    quantity,
    scaling,
    transfer,
)
from ssl_sweep.sweep.report.figures.base import NARROW, WIDE, Drawn, Figure, Gap, label_ends, panels


def figure(drawn: list[Drawn], name: str) -> Figure:
    (found,) = [one for one in drawn if one.name == name]
    assert isinstance(found, Figure), f"{name}: {found.reason}"
    return found


def axes(drawn: Figure, width: float = WIDE) -> list[matplotlib.axes.Axes]:
    with matplotlib.rc_context(style.rc()):
        return list(drawn.draw(width).axes)


def row(table: pd.DataFrame, **where: object) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_a_point_is_the_mean_over_seeds_and_a_missing_one_a_gap() -> None:
    table = Table(n_test=300)
    for labels, status in ((100, "complete"), (1000, "waiting"), (8000, "complete")):
        table.add(
            0.3 + labels / 1e5, n_labels=labels, status=status, probe_seeds=(0, 1), pretrain_domain="scenes"
        )
        table.add(0.2, n_labels=labels, method="random")
    frame = table.frame()
    drawn = figure(quantity.draw(frame), "quantity")
    mine = frame[(frame.method == "simclr") & (frame.level_index == 0)]
    for labels in (100, 8000):
        point = row(drawn.data, line="4k images", n_labels=labels)
        rows = mine[mine.n_labels == labels]
        assert point["mean"] == pytest.approx(100 * rows.groupby("pretrain_seed").top1.mean().mean())
        assert (point["n"], point["cells"], point["complete"]) == (3, 6, 6)
        assert point["low"] < point["mean"] < point["high"]
    gap = row(drawn.data, line="4k images", n_labels=1000)
    assert math.isnan(gap["mean"]) and (gap["n"], gap["cells"]) == (0, 6)
    assert "1 of 6 points" in drawn.caption
    (axis,) = axes(drawn)
    (line,) = [one for one in axis.lines if one.get_label() == "4k images"]
    assert [math.isnan(y) for y in line.get_ydata()] == [False, True, False]
    assert [list(one.get_xdata()) for one in axis.lines if one.get_marker() == "x"] == [[1000.0]]


def test_a_sweep_without_cells_for_a_figure_says_what_to_add() -> None:
    frame = Table(n_test=50).add(0.2, method="random", n_labels=100).frame()
    modules = (quantity, domain, quality, granularity, pretext, transfer, scaling, cost)
    drawn = [one for module in modules for one in module.draw(frame)]
    assert len(drawn) >= 18 and all(isinstance(one, Gap) and one.reason for one in drawn)


def test_settings_are_not_mixed_but_epochs_that_follow_the_size_are_kept() -> None:
    table = Table(n_test=200)
    for images, epochs in ((500, 240), (2000, 60), (8000, 15)):
        for labels in (100, 1000):
            table.add(0.3, images=images, epochs=epochs, n_labels=labels, steps=480)
    kept = figure(quantity.draw(table.frame()), "quantity")
    assert "epochs" not in kept.caption and not kept.data["mean"].isna().any()
    assert set(kept.data["images"]) == {500, 2000, 8000}
    table.add(0.6, images=2000, epochs=600, n_labels=100)
    mixed = figure(quantity.draw(table.frame()), "quantity")
    assert "epochs" in mixed.caption
    assert mixed.data["mean"].max() < 40


def test_the_best_of_a_column_is_bold_the_second_underlined_and_references_are_neither() -> None:
    table = Table(n_test=400, seed_noise=0.0)
    sources = {"scenes": 0.5, "objects": 0.4, "plankton": 0.3}
    for source, top1 in sources.items():
        table.add(top1, pretrain_domain=source, eval_domain="scenes", n_labels=1000)
    table.add(0.9, method="random", protocol="fine-tune", n_labels=1000, labels="all")
    table.add(0.1, method="random", n_labels=1000)
    drawn = figure(domain.draw(table.frame()), "cross-domain")
    (axis,) = axes(drawn)
    bold = [text.get_text() for text in axis.texts if text.get_weight() == "bold"]
    assert bold == [f"{row(drawn.data, row='scenes · 4k')['mean']:.1f}"]
    (under,) = [line for line in axis.lines if line.get_color() == style.INK]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert int(under.get_ydata()[0]) == names.index("objects · 4k")
    assert names[-2:] == [domain.RANDOM, domain.SUPERVISED]
    part = table.frame().assign(labels="1000")
    assert domain.MOST in set(figure(domain.draw(part), "cross-domain").data["row"])


def test_pools_stand_beside_in_domain_pretraining_of_their_size_and_of_their_share() -> None:
    table = Table(n_test=200)
    for images in (1000, 4000, 8000):
        table.add(0.4, images=images)
    table.add(0.35, images=8000, pretrain_domain="objects+scenes")
    table.add(0.2, images=8000, pretrain_domain="objects+plankton")
    rows = figure(domain.draw(table.frame()), "pooled").data["row"]
    assert list(rows) == ["in-domain · 8k", "objects + scenes · 8k", "in-domain · 4k"]


def test_a_pool_that_is_judged_elsewhere_only_is_a_gap() -> None:
    table = Table(n_test=50).add(0.4).add(0.3, pretrain_domain="objects+plankton")
    (gap,) = [one for one in domain.draw(table.frame()) if one.name == "pooled"]
    assert isinstance(gap, Gap)


def test_drops_are_seed_paired_and_have_a_ratio_where_supervised_loses_something() -> None:
    table = Table(n_test=2000, seed_noise=0.003)
    for corruption, drop in (("none", 0.0), ("downsample-4x", 0.2), ("resize", 0.0)):
        table.add(0.5 - drop, corruption=corruption)
        table.add(0.6 - drop / 4, corruption=corruption, method="supervised")
    frame = table.frame()
    drawn = figure(quality.draw(frame), "corruption")
    rows = frame[frame.level_index == 0].set_index(["method", "corruption"]).top1
    clean, damaged = rows.loc["simclr"].loc["none"], rows.loc["simclr"].loc["downsample-4x"]
    by_hand = clean.mean() - damaged.mean()
    mine = row(drawn.data, method="simclr", corruption="downsample-4x")
    other = row(drawn.data, method="supervised", corruption="downsample-4x")
    assert mine["mean"] == pytest.approx(100 * by_hand)
    assert f"downsample-4x on scenes {mine['mean'] / other['mean']:.1f}×" in drawn.caption


def test_levels_run_from_coarse_to_fine_with_the_gap_to_supervised() -> None:
    levels = (("species", 40), ("family", 9), ("kingdom", 2))
    table = Table(n_test=1000, seed_noise=0.002)
    table.add(0.3, levels=levels, coarser=(0.3, 0.3))
    table.add(0.5, levels=levels, coarser=(0.2, 0.2), method="random", protocol="fine-tune")
    drawn = figure(granularity.draw(table.frame()), "granularity")
    (axis,) = axes(drawn)
    assert [t.get_text().split()[0] for t in axis.get_xticklabels()] == ["kingdom", "family", "species"]
    mapped = drawn.data[drawn.data.line == granularity.MAPPED]
    gaps = {level: row(mapped, level=level)["gap"] for level, _ in levels}
    assert gaps["species"] == pytest.approx(20, abs=2) and gaps["kingdom"] == pytest.approx(0, abs=2)
    assert f"{gaps['family']:+.1f}" in [text.get_text() for text in axis.texts]


def test_augmentations_are_placed_by_their_operations_and_simclr_is_crop_and_colour() -> None:
    table = Table(n_test=200, seed_noise=0.0)
    for views, top1 in (("simclr", 0.5), ("crop", 0.3), ("colour", 0.2), ("colour-blur", 0.25)):
        table.add(top1, views=views)
    drawn = figure(pretext.draw(table.frame()), "augmentations")
    assert dict(zip(drawn.data["composed"], drawn.data["mean"].round(), strict=True)) == {
        "crop-colour": 50,
        "crop": 30,
        "colour": 20,
        "colour-blur": 25,
    }
    (axis,) = axes(drawn)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["crop", "colour", "blur"]
    shown = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in axis.texts[::2]}
    assert shown[0, 1] == shown[1, 0] == "50.0" and (2, 2) not in shown


def test_the_front_joins_what_nothing_cheaper_beats() -> None:
    table = Table(n_test=400, seed_noise=0.0)
    for images, seconds, top1 in ((500, 60.0, 0.3), (1000, 120.0, 0.25), (2000, 240.0, 0.4)):
        table.add(top1, images=images, train_seconds=seconds)
    data = figure(cost.draw(table.frame()), "hours").data.sort_values("train_seconds")
    assert list(data["pareto"]) == [True, False, True]


def test_names_at_line_ends_do_not_touch() -> None:
    with matplotlib.rc_context(style.rc()):
        canvas, (axis,) = panels(1, WIDE)
        axis.set_ylim(0, 100)
        label_ends(axis, [(50 + i / 10, f"line {i}", style.INK) for i in range(6)])
        canvas.draw_without_rendering()
        tops = sorted(text.get_window_extent().y0 for text in axis.texts)
    assert min(b - a for a, b in itertools.pairwise(tops)) > 6


def test_a_legend_reads_row_by_row() -> None:
    from ssl_sweep.sweep.report.figures.base import _by_rows

    filled = _by_rows(list("abcdefg"), 3)  # matplotlib fills columns: a d g, b e, c f
    assert filled == ["a", "d", "g", "b", "e", "c", "f"]


def test_fine_tuning_by_steps_and_by_epochs_is_not_one_point() -> None:
    table = Table(seed_noise=0.0).add(0.5)
    table.add(0.2, method="random", protocol="fine-tune", finetune_steps=150, probe_seeds=(0, 1))
    table.add(0.6, method="random", protocol="fine-tune", finetune_steps=None, finetune_epochs=4)
    point = row(figure(quantity.draw(table.frame()), "quantity").data, line="from scratch")
    assert point["mean"] == pytest.approx(20, abs=1) and point["cells"] == 6


def test_pools_of_equal_and_of_given_shares_are_not_one_point() -> None:
    table = Table(seed_noise=0.0).add(0.5)
    table.add(0.4, pretrain_domain="land+scenes", probe_seeds=(0, 1))
    table.add(0.2, pretrain_domain="land+scenes", pool_shares="75%+25%")
    drawn = figure(domain.draw(table.frame()), "pooled")
    assert row(drawn.data, row="land + scenes · 4k")["mean"] == pytest.approx(40, abs=1)
    assert "pool shares none" in drawn.caption


def test_a_method_with_other_views_stays_where_another_ones_vary() -> None:
    table = (
        Table(seed_noise=0.0)
        .add(0.5)
        .add(0.3, views="crop")
        .add(0.4, method="supervised", views="supervised")
    )
    drawn = figure(quantity.draw(table.frame()), "methods")
    assert row(drawn.data, line="supervised")["mean"] == pytest.approx(40, abs=1)
    assert row(drawn.data, line="SimCLR")["mean"] == pytest.approx(50, abs=1)
    assert "uses the labels of all its images" in drawn.caption


def test_what_is_asked_of_one_method_only_is_no_gap_of_transfer() -> None:
    table = Table()
    for method in ("simclr", "supervised"):
        table.add(0.5, method=method).add(0.4, method=method, eval_domain="land")
    table.add(
        0.5, n_labels=8000, eval_domain="land", pretrain_domain="land"
    )  # a larger budget, of one encoder
    table.add(0.5, pretrain_domain="land", eval_domain="land")
    drawn = figure(transfer.draw(table.frame()), "transfer")
    pairs = set(zip(drawn.data["pretrain_domain"], drawn.data["eval_domain"], strict=True))
    assert pairs == {("scenes", "scenes"), ("scenes", "land")}
    assert drawn.data["mean"].notna().all() and "not finished yet" not in drawn.caption
    assert "1k labels" in drawn.caption


def test_levels_are_compared_with_as_many_labels_where_most_lines_are() -> None:
    table = Table(seed_noise=0.0, n_test=4000)
    scratch = {"method": "random", "protocol": "fine-tune"}
    table.add(0.40, images=4000).add(0.45, images=8000)
    table.add(0.30, **scratch).add(0.70, n_labels=8000, **scratch)
    at_level = [
        {**one, "train_level": "group", "cell_id": f"{one['cell_id']}g"}
        for one in table.rows
        if one["level_index"] and one["images"] == 4000
    ]
    table.rows += at_level
    (drawn,) = granularity.draw(table.frame())
    assert isinstance(drawn, Figure)
    assert set(drawn.data["line"]) == {"linear probe", "probe retrained per level", "from scratch"}
    fine = row(drawn.data, line="linear probe", level="label")
    assert fine["mean"] == pytest.approx(40, abs=1) and fine["gap"] == pytest.approx(-10, abs=1)
    assert "4k images, 1k labels" in drawn.caption


def test_a_ratio_needs_a_supervised_drop_that_is_sure() -> None:
    table = Table(seed_noise=0.03, n_test=300)
    for method in ("simclr", "supervised"):
        table.add(0.5, method=method).add(0.485, method=method, corruption="jpeg")
    assert "Ratio" not in figure(quality.draw(table.frame()), "corruption").caption


def test_from_scratch_is_told_from_the_largest_size_on_a_dark_page_too() -> None:
    def far(a: str, b: str) -> int:
        return sum(abs(int(a[i : i + 2], 16) - int(b[i : i + 2], 16)) for i in (1, 3, 5))

    for blue, ink in ((style.BLUES[-1], style.INK), (style.DARK[style.BLUES[-1]], style.DARK[style.INK])):
        assert far(blue, ink) > 90
    table = Table(n_test=50)
    for labels in (100, 1000):
        table.add(0.5, n_labels=labels).add(0.4, n_labels=labels, method="random", protocol="fine-tune")
    drawn = figure(quantity.draw(table.frame()), "quantity")
    marks = {line.get_label(): line.get_marker() for line in axes(drawn)[0].lines}
    assert marks["from scratch"] != marks["4k images"] and "Diamonds" in drawn.caption


def test_one_seed_is_said_as_n_equals_1_and_no_interval() -> None:
    table = Table(n_test=50)
    for labels in (100, 1000):
        table.add(0.5, n_labels=labels, seeds=(0,))
    caption = figure(quantity.draw(table.frame()), "quantity").caption
    assert "One pretraining seed (n = 1), so no interval" in caption and "N =" not in caption


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_names_of_levels_do_not_touch(width: float) -> None:
    names = ("species", "genus", "family", "order", "class", "phylum", "kingdom")
    own = {"levels": tuple((name, 9 - i) for i, name in enumerate(names)), "coarser": 0.05}
    (axis,) = axes(figure(granularity.draw(Table(n_test=50).add(0.4, **own).frame()), "granularity"), width)
    axis.get_figure().draw_without_rendering()  # type: ignore[union-attr]
    labels = axis.get_xticklabels()
    if labels[0].get_rotation() == 0:
        ends = [label.get_window_extent() for label in labels]
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(ends))
    else:
        assert all(b.get_position()[0] > a.get_position()[0] for a, b in itertools.pairwise(labels))


def test_names_of_columns_are_whole_on_a_phone() -> None:
    table = Table(n_test=50)
    for domain_ in ("landcover", "objects", "plankton", "scenes"):
        table.add(0.4, eval_domain=domain_)
    (axis,) = axes(figure(domain.draw(table.frame()), "cross-domain"), NARROW)
    assert "landcover" in [label.get_text() for label in axis.get_xticklabels()]


def test_very_many_domains_are_drawn_in_part_and_said_so() -> None:
    from ssl_sweep.sweep.report.figures.all import MOST_DOMAINS, figures

    table = Table(n_test=20)
    for i in range(MOST_DOMAINS + 6):
        table.add(0.4, seeds=(0,), pretrain_domain="a", eval_domain=f"d{i:02d}", levels=(("label", 9),))
    drawn = figure(figures(table.frame()), "cross-domain")
    assert drawn.data["column"].nunique() == MOST_DOMAINS
    assert f"{MOST_DOMAINS} of {MOST_DOMAINS + 6} evaluation domains" in drawn.caption
    (narrow,) = axes(drawn, NARROW)
    assert not narrow.texts, "cells that are narrower than a number have none"
