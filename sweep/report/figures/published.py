"""The published numbers, drawn as one's own are, beside them: sizes and domains differ, so the shapes
compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from sweep.report import style
from sweep.report.figures import domain, granularity, quality, quantity
from sweep.report.figures.base import Drawn, Figure

if TYPE_CHECKING:
    from sweep.report.paper import PaperNumbers

_WORDS = {
    "EXACT": "printed digits",
    "DIGITISED": "measured on the published figure, bars are the reading error",
    "READ": "read off the published figure by eye",
    "SECONDARY": "as stated by others",
}


def with_published(drawn: list[Drawn], paper: PaperNumbers) -> list[Drawn]:
    """Each figure that the paper has too, followed by the paper's."""
    makers: dict[str, Callable[[PaperNumbers], Figure]] = {
        "quantity": _quantity,
        "methods": _methods,
        "cross-domain": _matrix,
        "pooled": _pooled,
        "corruption": _corruption,
        "granularity": _granularity,
    }
    both: list[Drawn] = []
    for one in drawn:
        both.append(one)
        if isinstance(one, Figure) and one.name in makers:
            theirs = makers[one.name](paper)
            both.append(replace(theirs, name=f"{one.name}-paper", title=f"As published: {theirs.title}"))
    return both


def _numbers(paper: PaperNumbers, *names: str) -> pd.DataFrame:
    """Rows of the paper in the shape of `points`; low and high are the error of the reading."""
    rows = pd.concat([paper.table(name) for name in names], ignore_index=True)
    rows = rows.rename(
        columns={"eval": "eval_domain", "labels": "n_labels", "pretraining": "pretrain_domain"}
    )
    error = 100 * rows["error"].astype(float)
    value = 100 * rows["value"].astype(float)
    rows = rows.assign(mean=value, low=value - error, high=value + error, n=0)
    keep = [
        "figure",
        "eval_domain",
        "method",
        "pretrain_domain",
        "images",
        "n_labels",
        "level",
        "level_index",
        "n_classes",
    ]
    return rows[[*keep, "corruption", "mean", "low", "high", "n", "evidence", "source"]]


def _caption(rows: pd.DataFrame, what: str) -> str:
    tags = "; ".join(_WORDS.get(tag, tag.lower()) for tag in dict.fromkeys(rows["evidence"]))
    return (
        f"{what} {', '.join(dict.fromkeys(rows['source']))}: {tags}. ResNet-50 on up to a million images:"
        f" compare shapes, not levels."
    )


def _quantity(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "fig2-linear", "fig2-fine-tune")
    rows["protocol"] = rows["figure"].str.removeprefix("fig2-")
    names = [f"{style.count(n)} images" if n > 0 else quantity.SCRATCH for n in rows["images"].fillna(0)]
    rows["line"] = names
    scratch = (rows["line"] == quantity.SCRATCH) & (rows["protocol"] == "linear")
    rows = rows[~scratch]  # the same curve is in both rows of the figure
    sizes = sorted(rows["images"].dropna().unique())
    looks = [
        (f"{style.count(n)} images", c, "o") for n, c in zip(sizes, style.sequence(len(sizes)), strict=True)
    ]
    text = _caption(rows, "SimCLR in its own domain, by number of pretraining images; black: from scratch.")
    return quantity.lines_figure(
        "", "accuracy against label budget, by number of unlabelled images", text, rows, looks
    )


def _methods(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "fig3").assign(protocol="linear")
    rows["line"] = [quantity.SCRATCH if m == "from scratch" else style.method_name(m) for m in rows["method"]]
    methods = [m for m in dict.fromkeys(rows["method"]) if m != "from scratch"]
    looks = [(style.method_name(m), *style.method_look(m)) for m in methods]
    text = _caption(
        rows, "Methods on iNat21 with a million pretraining images, linear probe; black: from scratch."
    )
    return quantity.lines_figure("", "methods against label budget", text, rows, looks)


def _matrix(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "table1")
    own = rows["method"] == "simclr"
    rows["row"] = [
        f"{d} · 1M" if mine else domain.SUPERVISED
        for d, mine in zip(rows["pretrain_domain"], own, strict=True)
    ]
    rows["column"] = rows["eval_domain"]
    text = _caption(
        rows,
        "SimCLR pretrained on the row, linear probe on the column, top-1 in %; bold best, underlined second.",
    )
    return domain.heat_figure("", "cross-domain matrix", text, rows, (domain.SUPERVISED,))


def _pooled(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "table2")
    single = rows["pretrain_domain"] == rows["eval_domain"]
    contains = [e in p.split("+") for p, e in zip(rows["pretrain_domain"], rows["eval_domain"], strict=True)]
    short = (
        rows["pretrain_domain"]
        .str.replace("iNat21+ImageNet+Places365+GLC20", "all four")
        .str.replace("+", " + ", regex=False)
    )
    names = short.where(~single, "in-domain")
    rows["row"] = [f"{name} · {style.count(n)}" for name, n in zip(names, rows["images"], strict=True)]
    rows["column"] = rows["eval_domain"]
    rows = rows[contains].assign(order=-rows["images"], own=~single).sort_values(["order", "own", "row"])
    text = _caption(rows, "Pools against in-domain pretraining of equal size, linear probe.")
    return domain.heat_figure("", "pooled against in-domain", text, rows.drop(columns="own"), (), rank=False)


def _corruption(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "fig4-drop")
    text = _caption(rows, "Points of top-1 lost on ImageNet when the pretraining images are damaged.")
    picture = quality.drops_picture(rows, "simclr")
    return Figure(
        section="quality", name="", title="what corruption costs", caption=text, data=rows, draw=picture
    )


def _granularity(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "fig5")
    rows = rows[
        rows["method"].isin(["simclr", "from scratch"]) & rows["eval_domain"].isin(["iNat21", "Places365"])
    ]
    rows = rows.assign(
        line=[granularity.MAPPED if m == "simclr" else granularity.SCRATCH for m in rows["method"]]
    )
    text = _caption(
        rows,
        "Accuracy from the coarsest to the finest labels, SimCLR's linear probe and supervised from scratch.",
    )
    picture = granularity.levels_picture(rows, pd.DataFrame())
    return Figure(
        section="granularity",
        name="",
        title="accuracy by level of the hierarchy",
        caption=text,
        data=rows,
        draw=picture,
    )
