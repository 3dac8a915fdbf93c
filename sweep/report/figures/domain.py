"""Which images: the cross-domain matrix (Cole et al. Table 1), pooled domains (Table 2), fused encoders
(Table 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    PLUS_MINUS,
    Drawn,
    Figure,
    Subject,
    gaps_text,
    points,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    floor,
    hold,
    judged,
    main_method,
    one_budget,
    pretrained,
    undamaged,
)
from ssl_sweep.sweep.report.figures.heat import heat, heat_canvas
from ssl_sweep.sweep.report.frame import finest, in_domain, scratch, usual

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

SUPERVISED, RANDOM = "from scratch, all labels", "random encoder"
MOST = "from scratch, most labels"
_CROSSED = Subject(
    "domain", "cross-domain", "Cross-domain matrix: pretrained on the row, evaluated on the column"
)
_POOLED = Subject("domain", "pooled", "Pooling: mixed domains against the same number of in-domain images")
_FUSED = Subject("domain", "fusion", "Fusion: features of two encoders side by side")


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [matrix(frame), pooled(frame), fused(frame)]


def matrix(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, None))
    linear = rows[rows["protocol"] == "linear"]
    method = main_method(linear)
    own = pretrained(linear, method) if method else linear.iloc[:0]
    own = own[~own["pretrain_domain"].str.contains("+", regex=False)]
    crossed = own[own["pretrain_domain"] != own["eval_domain"]]
    if crossed.empty:
        return _CROSSED.gap(
            "pretrain on two or more domains and evaluate each encoder on all: `domain: [objects, scenes]` in"
            " both blocks"
        )
    own = own[own["images"] == _shared_size(own)]
    own, size_held = one_budget(own)
    own, held = hold(own, ["pretrain_domain", "eval_domain"])
    table = points(own, ["pretrain_domain", "eval_domain"])
    sizes = style.count(float(own["images"].iloc[0]))
    table = table.assign(
        row=[f"{style.short(d)} · {sizes}" for d in table["pretrain_domain"]], column=table["eval_domain"]
    )
    references = []
    alone = at_most_labels(scratch(rows))
    reference = SUPERVISED if (alone["labels"] == "all").all() else MOST
    for name, found in ((RANDOM, _matching(floor(rows), own)), (reference, alone)):
        found, _ = hold(found[found["eval_domain"].isin(table["eval_domain"])], ["eval_domain"])
        if len(found):
            references.append(
                points(found, ["eval_domain"]).assign(row=name, column=lambda t: t["eval_domain"])
            )
    table = pd.concat([table, *references], ignore_index=True)
    caption = (
        f"Linear-probe top-1 in %. The {style.method_name(method)} encoders were pretrained on {sizes} images"
        f" of the row's domain{size_held}. Bold: best of the column; underlined: second best; darker: better"
        " within the column. If the domain matters, the diagonal is bold. The rows below the rule are"
        f" references and are not ranked. {_notes(table, held)}"
    )
    return heat_figure(_CROSSED, caption, table, (RANDOM, reference))


def pooled(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, "linear"))
    method = main_method(rows)
    own = pretrained(rows, method) if method else rows.iloc[:0]
    pools = own[own["pretrain_domain"].str.contains("+", regex=False)]
    pairs = zip(pools["pretrain_domain"], pools["eval_domain"], strict=True)
    pools = pools[np.array([e in p.split("+") for p, e in pairs], dtype=bool)]
    if pools.empty:
        return _POOLED.gap(
            "pretrain on a pool, written as an inner list, and evaluate it on one of its domains:"
            " `domain: [objects, scenes, [objects, scenes]]`"
        )
    domains = pools["eval_domain"].unique()
    singles = in_domain(own)
    both = pd.concat([pools, singles[singles["eval_domain"].isin(domains)]])
    both, size_held = one_budget(both)
    both, held = hold(both, ["pretrain_domain", "eval_domain", "images"])
    single = both["pretrain_domain"] == both["eval_domain"]
    pooled_names = [" + ".join(map(style.short, name.split("+"))) for name in both["pretrain_domain"]]
    shown = pd.Series(pooled_names, index=both.index).where(~single, "in-domain")
    parts = {len(name.split("+")) for name in pools["pretrain_domain"]}
    sizes = {size / n for size in pools["images"] for n in {1, *parts}}
    both = both.assign(
        row=[f"{name} · {style.count(n)}" for name, n in zip(shown, both["images"], strict=True)]
    )
    both = both.assign(column=both["eval_domain"], order=single.astype(int) * -1 - both["images"])
    table = points(both[~single | both["images"].isin(sizes)], ["order", "row", "column"]).sort_values(
        ["order", "row"]
    )
    caption = (
        f"{style.method_name(method)} pretrained on a pool of domains against pretraining on images of the"
        f" column's domain only{size_held}. Compare rows of equal size: the in-domain row stands above the"
        " pools of its size. Below them stands the in-domain row with as many images as the pool has of that"
        f" domain. Pools without the column's domain are not shown. {_notes(table, held)}"
    )
    return heat_figure(_POOLED, caption, table, rank=False)


def fused(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(usual(finest(frame), "linear", fused=True))
    if rows.empty:
        return _FUSED.gap(
            "evaluate fused encoders: a `fuse` key in an evaluate block; two seeds of one domain are the"
            " control"
        )
    rows, size_held = one_budget(rows)
    alone = undamaged(judged(frame, "linear"))
    used = set(rows["pretrain_domain"]) | {d for f in rows["fused_domain"] for d in f.split("+")}
    alone = alone[alone["pretrain_domain"].isin(used) & alone["eval_domain"].isin(rows["eval_domain"])]
    alone = alone[
        alone["method"].isin(set(rows["method"]) | {m for f in rows["fused_method"] for m in f.split("+")})
    ]
    alone = _matching(alone, rows)
    alone = alone[alone["images"].isin(rows["images"])]
    both = pd.concat([alone, rows])
    both, held = hold(
        both, ["method", "pretrain_domain", "fused_method", "fused_domain", "fused_with", "eval_domain"]
    )
    both = both.assign(row=[_fusion_name(r) for r in both.to_dict("records")], column=both["eval_domain"])
    both["order"] = (both["fused_with"] != "").astype(int)
    table = points(both, ["order", "row", "column"]).sort_values(["order", "row"])
    apart = tuple(table[table["order"] == 0]["row"].unique())
    caption = (
        f"Linear probes on the concatenated, standardised features of two frozen encoders{size_held}. Single"
        " encoders stand above the rule. Two seeds of one domain are the control: they show what any second"
        f" encoder adds. {_notes(table, held)}"
    )
    return heat_figure(_FUSED, caption, table, singles=apart, rank=False)


def _notes(table: pd.DataFrame, held: str) -> str:
    return f"{seeds_text(table, shown=PLUS_MINUS)}.{held}{gaps_text(table, 'cells', 'hatched')}"


def _fusion_name(row: dict[str, object]) -> str:
    name = f"{style.method_name(row['method'])} {style.short(row['pretrain_domain'])}"
    if not row["fused_with"]:
        return name
    other = f"{style.method_name(row['fused_method'])} {style.short(row['fused_domain'])}"
    return f"{name} + its other seed" if other == name else f"{name} + {other}"


def _shared_size(rows: pd.DataFrame) -> float:
    """The size at which most domains were pretrained, the largest among equals; in images."""
    domains = rows.groupby("images")["pretrain_domain"].nunique()
    return float(domains[domains == domains.max()].index.max())


def _matching(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Those of ``rows`` at the label budgets of ``others``."""
    budgets = others.groupby("eval_domain")["n_labels"].first()
    return rows[rows["n_labels"] == rows["eval_domain"].map(budgets)]


def heat_figure(
    subject: Subject,
    caption: str,
    table: pd.DataFrame,
    below: tuple[str, ...] = (),
    *,
    singles: tuple[str, ...] = (),
    rank: bool = True,
) -> Figure:
    """A heat map; ``below`` and ``rank`` as in ``heat``, with a rule under the rows ``singles``."""
    data = table.drop(columns=["order"], errors="ignore")
    return subject.figure(caption, data, _heat_map(table, below, singles, rank))


def _heat_map(
    table: pd.DataFrame, below: tuple[str, ...], singles: tuple[str, ...], rank: bool
) -> Callable[..., Canvas]:
    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        rows, columns = table["row"].nunique(), table["column"].nunique()
        height = 0.46 if published is None else 0.56
        canvas, axis = heat_canvas(rows, columns, width, max(map(len, table["row"])), height)
        theirs = {} if published is None else published.set_index(["row", "column"])["mean"].to_dict()
        heat(axis, table, rank=rank, below=below, published=theirs)
        if singles:
            axis.axhline(len(singles), color=style.MUTED, linewidth=1)
        return canvas

    return picture
