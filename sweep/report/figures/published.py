"""The published numbers over the sweep's own: dashed lines, open marks, or a third line in a cell.

If a figure shares no axis with the published one, the published one stands beside it, drawn in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures import domain, granularity, quality, quantity
from ssl_sweep.sweep.report.figures.base import Drawn, Figure, Subject
from ssl_sweep.sweep.report.figures.lines import Look

if TYPE_CHECKING:
    from ssl_sweep.sweep.report.paper import PaperNumbers

_WORDS = {
    "EXACT": "printed digits",
    "DIGITISED": "measured on the published figure",
    "READ": "read off the published figure by eye",
    "SECONDARY": "as stated by others",
}
_ALL_FOUR = "iNat21+ImageNet+Places365+GLC20"


@dataclass(frozen=True)
class _Over:
    """How a published figure is laid over the sweep's own."""

    rows: Callable[[PaperNumbers, pd.DataFrame], pd.DataFrame]
    """The rows to draw, given the paper and the sweep's numbers; ``published_on`` names their dataset."""
    mark: str
    """How they are drawn, for the caption."""
    beside: Callable[[PaperNumbers], Figure] | None = None
    """The whole published figure, shown if nothing is laid over."""
    always: bool = False
    """Whether ``beside`` is also shown if the rows are of other data."""


def with_published(drawn: list[Drawn], paper: PaperNumbers) -> list[Drawn]:
    """The figures with the paper's numbers over them, or followed by the published figure."""
    return [shown for one in drawn for shown in _with(one, paper)]


def _with(one: Drawn, paper: PaperNumbers) -> list[Drawn]:
    over = _OVER.get(one.name)
    if over is None or not isinstance(one, Figure):
        return [one]
    rows = over.rows(paper, one.data)
    foreign = rows.empty or not _same_data(rows).all()
    found: list[Drawn] = [_laid_over(one, rows, over.mark) if len(rows) else one]
    if over.beside and (rows.empty or (over.always and foreign)):
        theirs = over.beside(paper)
        title = f"As published: {theirs.title}"
        found.append(replace(theirs, name=f"{one.name}-paper", title=title))
    return found


def _laid_over(one: Figure, rows: pd.DataFrame, mark: str) -> Figure:
    where = ", ".join(dict.fromkeys(rows["published_on"]))
    text = f" {mark}: as published ({', '.join(dict.fromkeys(rows['source']))}; {where}), {_tags(rows)}"
    text += ", without an interval."
    if not _same_data(rows).all():
        text += " The network differs, on other and more images: compare shapes and orders, not levels."
    data = pd.concat([one.data, rows.drop(columns=["label", "short"], errors="ignore")], ignore_index=True)
    return replace(one, caption=one.caption + text, data=data, draw=partial(one.draw, published=rows))


def _same_data(rows: pd.DataFrame) -> pd.Series:
    return rows["published_on"].map(_key) == rows["eval_domain"].map(_key)


def _key(name: str) -> str:
    """A dataset's name for comparison: imagenet for ImageNet, cifar10 for CIFAR-10."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _tags(rows: pd.DataFrame) -> str:
    """The evidence in words, with the largest reading error."""
    tags = []
    for tag, group in rows.groupby("evidence", sort=False):
        error = group["reading_error"].max()
        tags.append(_WORDS[str(tag)] + (f" to ± {error:.2g} points" if error > 0 else ""))
    return "; ".join(tags)


def _numbers(paper: PaperNumbers, *names: str) -> pd.DataFrame:
    """Rows of the paper with the columns of ``points``; no published number has an interval."""
    rows = pd.concat([paper.table(name) for name in names], ignore_index=True)
    renamed = {"eval": "eval_domain", "labels": "n_labels", "pretraining": "pretrain_domain"}
    rows = rows.rename(columns=renamed)
    rows = rows.assign(
        mean=100 * rows["value"].astype(float),
        low=float("nan"),
        high=float("nan"),
        n=0,
        reading_error=100 * rows["error"].astype(float),
    )
    return rows.drop(columns=["value", "error"])


def _by_panel(rows: pd.DataFrame, own: pd.DataFrame, who: str) -> pd.DataFrame:
    """The rows to draw for each domain of ``own``.

    They are those of the published dataset of the same name, else of ImageNet, else of the first one.
    ``label`` is the line's name in the legend, "" if it shares the name and colour of the sweep's own;
    ``short`` is its name at the line's end.
    """
    parts = []
    known = list(dict.fromkeys(rows["eval_domain"]))
    for name in sorted(own["eval_domain"].unique()):
        same = [one for one in known if _key(one) == _key(name)]
        on = same[0] if same else "ImageNet" if "ImageNet" in known else known[0]
        mine = set(own.loc[own["eval_domain"] == name, "line"])
        part = rows[rows["eval_domain"] == on]
        labels = ["" if same and line in mine else f"{who}, {on}: {line}" for line in part["line"]]
        lines = part["line"].str.removesuffix(" images")
        short = [
            f"{who.split()[0]}: {line}" if label else who for line, label in zip(lines, labels, strict=True)
        ]
        parts.append(part.assign(published_on=on, eval_domain=name, label=labels, short=short))
    return pd.concat(parts, ignore_index=True)


# Over the figure ---------------------------------------------------------------------------------------


def _quantity_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    """All sizes of the same dataset; of another the fewest and the most images, which show the shape."""
    rows = _in_panels(_quantity_rows(paper), own)
    ends = rows["images"].isin([rows["images"].min(), rows["images"].max()])
    return rows[_same_data(rows) | ends | (rows["line"] == quantity.SCRATCH)]


def _methods_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    return _in_panels(_method_rows(paper), own)


def _in_panels(rows: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The rows whose protocol and domain have a panel."""
    rows = _by_panel(rows, own, "Cole et al.")
    shown = pd.MultiIndex.from_tuples(quantity.curves(own))
    return rows[rows.set_index(["protocol", "eval_domain"]).index.isin(shown)]


def _rotation_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    rows = _numbers(paper, "rotnet")
    lines = [quantity.SCRATCH if m == "from scratch" else "rotation, then labels" for m in rows["method"]]
    return _by_panel(rows.assign(line=lines), own, "RotNet")


def _schedule_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    """The smallest and the largest batch, at the learning rate that grows with the root of the batch."""
    rows = _numbers(paper, "simclr-batch-epochs")
    rows = rows[
        (rows["level"] == "sqrt rate") & rows["batch"].isin([rows["batch"].min(), rows["batch"].max()])
    ]
    own = own.assign(line=[f"batch {batch:g}" for batch in own["batch"]])
    return _by_panel(rows.assign(line=[f"batch {batch:g}" for batch in rows["batch"]]), own, "Chen et al.")


def _corruption_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    """ImageNet's drops for each damage of the same kind; the paper does not state its strength."""
    rows = _numbers(paper, "fig4-drop").rename(columns={"corruption": "kind"})
    rows["published_on"] = rows.pop("eval_domain")
    mine = own[["eval_domain", "corruption"]].drop_duplicates()
    rows = rows.merge(mine, how="cross")
    rows = rows[[c.startswith(kind) for c, kind in zip(rows["corruption"], rows["kind"], strict=True)]]
    return rows[rows["method"].isin(own["method"])].drop(columns="kind")


def _granularity_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    """Rows of the same dataset, if it has as many levels, else those of levels with the same name."""
    rows = _level_rows(paper)
    parts = []
    for name, mine in own.groupby("eval_domain"):
        theirs = rows[rows["eval_domain"].map(_key) == _key(str(name))]
        levels = mine.drop_duplicates("level")
        names = levels["level"].str.removeprefix("label_").map(_key)
        index = dict(zip(names, levels["level_index"], strict=True))
        if len(theirs.drop_duplicates("level")) != len(levels):
            theirs = theirs[theirs["level"].map(_key).isin(index)]
            theirs = theirs.assign(level_index=theirs["level"].map(_key).map(index))
        parts.append(theirs.assign(published_on=theirs["eval_domain"], eval_domain=name, label=""))
    return pd.concat(parts, ignore_index=True)


def _matrix_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    return _cells_over(_matrix_rows(paper), own)


def _pooled_over(paper: PaperNumbers, own: pd.DataFrame) -> pd.DataFrame:
    return _cells_over(_pooled_rows(paper), own)


def _cells_over(rows: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The published cells that the sweep's table has: the same size and domains, in any order."""
    mine: Mapping[tuple[str, str], tuple[str, str]] = {
        (_cell_key(r), _key(c)): (r, c) for r, c in zip(own["row"], own["column"], strict=True)
    }
    keys = [(_cell_key(r), _key(c)) for r, c in zip(rows["row"], rows["column"], strict=True)]
    found = rows[[key in mine for key in keys]]
    places = [mine[key] for key in keys if key in mine]
    return found.assign(
        row=[r for r, _ in places],
        column=[c for _, c in places],
        published_on=found["eval_domain"],
        eval_domain=[c for _, c in places],
    )


def _cell_key(row: str) -> str:
    """A row's name for comparison: its domains in alphabetical order, and its size."""
    names, _, size = row.partition(" · ")
    return "+".join(sorted(map(_key, names.replace("all four", _ALL_FOUR).split("+")))) + size


# Beside the figure ------------------------------------------------------------------------------------


def _caption(rows: pd.DataFrame, what: str) -> str:
    return (
        f"{what} {', '.join(dict.fromkeys(rows['source']))}: {_tags(rows)}, without intervals. The network is"
        " a ResNet-50 on up to a million images: compare shapes, not levels."
    )


def _quantity_rows(paper: PaperNumbers) -> pd.DataFrame:
    rows = _numbers(paper, "fig2-linear", "fig2-fine-tune")
    rows["protocol"] = rows["figure"].str.removeprefix("fig2-")
    rows["line"] = [
        f"{style.count(n)} images" if n > 0 else quantity.SCRATCH for n in rows["images"].fillna(0)
    ]
    return rows


def _quantity(paper: PaperNumbers) -> Figure:
    rows = _quantity_rows(paper)
    scratch = (rows["line"] == quantity.SCRATCH) & (rows["protocol"] == "linear")
    rows = rows[~scratch]  # the same curve is in both rows of the figure
    sizes = sorted(rows["images"].dropna().unique())
    colours = style.sequence(len(sizes))
    looks = {f"{style.count(n)} images": Look(c) for n, c in zip(sizes, colours, strict=True)}
    text = _caption(
        rows, "SimCLR in its own domain, by number of pretraining images; diamonds: from scratch."
    )
    subject = Subject("quantity", "", "accuracy against label budget, by number of unlabelled images")
    return subject.figure(text, rows, quantity.budget_lines(rows, looks))


def _method_rows(paper: PaperNumbers) -> pd.DataFrame:
    rows = _numbers(paper, "fig3").assign(protocol="linear")
    rows["line"] = [quantity.SCRATCH if m == "from scratch" else style.method_name(m) for m in rows["method"]]
    return rows


def _matrix_rows(paper: PaperNumbers) -> pd.DataFrame:
    rows = _numbers(paper, "table1")
    simclr = rows["method"] == "simclr"
    rows["row"] = (rows["pretrain_domain"] + " · 1M").where(simclr, domain.SUPERVISED)
    return rows.assign(column=rows["eval_domain"])


def _matrix(paper: PaperNumbers) -> Figure:
    rows = _matrix_rows(paper)
    what = "SimCLR pretrained on the row, linear probe on the column, top-1 in %. Bold: best."
    text = _caption(rows, what)
    return domain.heat_figure(Subject("domain", "", "cross-domain matrix"), text, rows, (domain.SUPERVISED,))


def _pooled_rows(paper: PaperNumbers) -> pd.DataFrame:
    rows = _numbers(paper, "table2")
    single = rows["pretrain_domain"] == rows["eval_domain"]
    contains = [e in p.split("+") for p, e in zip(rows["pretrain_domain"], rows["eval_domain"], strict=True)]
    names = rows["pretrain_domain"].replace(_ALL_FOUR, "all four").str.replace("+", " + ", regex=False)
    names = names.where(~single, "in-domain")
    rows["row"] = [f"{name} · {style.count(n)}" for name, n in zip(names, rows["images"], strict=True)]
    rows["column"] = rows["eval_domain"]
    rows = rows[contains].assign(order=-rows["images"], own=~single).sort_values(["order", "own", "row"])
    return rows.drop(columns="own")


def _pooled(paper: PaperNumbers) -> Figure:
    rows = _pooled_rows(paper)
    text = _caption(rows, "Pools against in-domain pretraining of equal size, linear probe.")
    return domain.heat_figure(Subject("domain", "", "pooled against in-domain"), text, rows, rank=False)


def _corruption(paper: PaperNumbers) -> Figure:
    rows = _numbers(paper, "fig4-drop")
    text = _caption(rows, "Points of top-1 lost on ImageNet if the pretraining images are damaged.")
    subject = Subject("quality", "", "what corruption costs")
    return subject.figure(text, rows, quality.drops_picture(rows, "simclr"))


def _level_rows(paper: PaperNumbers) -> pd.DataFrame:
    rows = _numbers(paper, "fig5")
    rows = rows[rows["method"].isin(["simclr", "from scratch"])]
    return rows.assign(
        line=[granularity.MAPPED if m == "simclr" else granularity.SCRATCH for m in rows["method"]]
    )


def _granularity(paper: PaperNumbers) -> Figure:
    rows = _level_rows(paper)
    rows = rows[rows["eval_domain"].isin(["iNat21", "Places365"])]  # ImageNet has 19 levels
    what = (
        "Accuracy from the coarsest to the finest labels: SimCLR's linear probe, and supervised from scratch."
    )
    text = _caption(rows, what + " Its levels differ from this sweep's, so the two figures are separate.")
    subject = Subject("granularity", "", "accuracy by level of the hierarchy")
    return subject.figure(text, rows, granularity.levels_picture(rows, pd.DataFrame()))


_OVER: Mapping[str, _Over] = {
    "quantity": _Over(_quantity_over, "Dashed", _quantity, always=True),
    "methods": _Over(_methods_over, "Dashed"),
    "cross-domain": _Over(_matrix_over, "Last line of a cell", _matrix),
    "pooled": _Over(_pooled_over, "Last line of a cell", _pooled),
    "corruption": _Over(_corruption_over, "Open marks", _corruption),
    "granularity": _Over(_granularity_over, "Dashed", _granularity),
    "rotation": _Over(_rotation_over, "Dashed"),
    "batch-epochs": _Over(_schedule_over, "Dashed"),
}
