"""What the other sources found: rotation against supervised learning (RotNet), and SimCLR's choices.

SimCLR's choices are which augmentations together, which head and what it takes away, batch size and epochs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.curves import NotFitted, crossover
from ssl_sweep.sweep.report.figures.base import (
    PLUS_MINUS,
    Drawn,
    Subject,
    crossing_text,
    domain_panels,
    gaps_text,
    line,
    points,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    hold,
    judged,
    main_method,
    own_images,
    pretrained,
    undamaged,
)
from ssl_sweep.sweep.report.figures.heat import heat, heat_canvas
from ssl_sweep.sweep.report.figures.lines import Look, Panel, line_panels
from ssl_sweep.sweep.report.frame import finest, in_domain, scratch
from ssl_sweep.sweep.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_OPERATIONS = ("crop", "colour", "blur")
_COMPOSED = {"crop-colour", "crop-blur", "colour-blur"}
_HEADS = {0: "no head", 1: "linear", 2: "non-linear, 2 layers", 3: "non-linear, 3 layers"}
_ROTATION = Subject(
    "other sources", "rotation", "Rotation pretraining against supervised learning, by label budget"
)
_AUGMENTATIONS = Subject("other sources", "augmentations", "Augmentations: alone (diagonal) and two together")
_HEAD = Subject(
    "other sources", "heads", "Projection head: none, linear, non-linear; features before and after it"
)
_SCHEDULE = Subject("other sources", "batch-epochs", "Batch size and training length")


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [rotation(frame), augmentations(frame), heads(frame), schedule(frame)]


def rotation(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, None))
    own = in_domain(pretrained(rows, "rotation"))
    labels_only = scratch(rows[rows["eval_domain"].isin(own["eval_domain"])])
    if own.empty or labels_only.empty:
        return _ROTATION.gap(
            "`method: rotation` in a pretrain block, `protocol: [linear, fine-tune]` with several `labels`,"
            " and `method: random` for training from scratch"
        )
    own = own[own["images"] == own.groupby("eval_domain")["images"].transform("max")]
    own, held = hold(own, ["eval_domain", "protocol", "n_labels"])
    labels_only, _ = hold(labels_only, ["eval_domain", "n_labels"])
    parts = [points(own, ["eval_domain", "protocol", "n_labels"])]
    parts[0]["line"] = "rotation, " + parts[0]["protocol"]
    parts.append(points(labels_only, ["eval_domain", "n_labels"]).assign(line="from scratch"))
    table = pd.concat(parts, ignore_index=True)
    crossings = {}
    for domain in sorted(table["eval_domain"].unique()):
        here = own[own["eval_domain"] == domain]
        chosen = here[
            here["protocol"] == ("fine-tune" if (here["protocol"] == "fine-tune").any() else "linear")
        ]
        crossings[domain] = crossover(chosen, labels_only[labels_only["eval_domain"] == domain])
    places = "; ".join(f"{domain} {crossing_text(found)}" for domain, found in crossings.items())
    caption = (
        "Rotation pretraining on images of the evaluation domain, then training with labels. Diamonds: labels"
        " only. Few labels favour pretraining; it stops paying at the budget at which the lines cross."
        f" Crossing: {places}. {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    looks = {
        "rotation, linear": Look(style.hue(0), "o"),
        "rotation, fine-tune": Look(style.hue(1), "s"),
        "from scratch": Look(style.INK, "D"),
    }
    shown = []
    for domain, found in crossings.items():
        part = table[table["eval_domain"] == domain]
        shown.append(
            Panel(
                title=style.short(domain),
                rows=part,
                ticks=set(part["n_labels"]),
                where={"eval_domain": domain},
                decorate=partial(_mark_crossing, found),
            )
        )
    return _ROTATION.figure(caption, table, line_panels(shown, "n_labels", "labelled images", looks))


def _mark_crossing(found: Estimate | NotFitted, axis: Axes) -> None:
    if isinstance(found, NotFitted):
        return
    axis.axvline(found.mean, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
    if found.low is not None and found.high is not None:
        axis.axvspan(found.low, found.high, color=style.MUTED, alpha=0.12, linewidth=0)


def augmentations(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, "linear"))
    method = main_method(rows)
    own = own_images(rows, method)
    own = own.assign(composed=[_composed(v, b) for v, b in zip(own["views"], own["blur"], strict=True)])
    own = own[own["composed"] != ""]
    if own["composed"].nunique() < 2:
        return _AUGMENTATIONS.gap(
            "`views: [crop, colour, crop-colour]` in a pretrain block (each also with `-blur`)"
        )
    asked = own[own["composed"].isin(["crop", "colour"])]
    own = at_most_labels(
        own[own["images"].isin(asked["images"]) & own["eval_domain"].isin(asked["eval_domain"])]
    )
    own = own.drop(columns=["views", "blur", "strength"])
    own, held = hold(own, ["composed", "eval_domain"])
    several = own["eval_domain"].nunique() > 1
    first = sorted(own["eval_domain"].unique())[0]
    own = own[own["eval_domain"] == first]
    flat = points(own, ["composed"])
    twice = [
        {**cell, "row": r, "column": c}
        for cell in flat.to_dict("records")
        for r, c in _places(str(cell["composed"]))
    ]
    table = pd.DataFrame(twice)
    rank = {name: i for i, name in enumerate(_OPERATIONS)}
    table = table.sort_values(["row", "column"], key=lambda names: names.map(rank)).reset_index(drop=True)
    full = flat[flat["composed"] == "crop-colour-blur"]
    all_three = ""
    if len(full) and full["mean"].notna().all():
        all_three = f" All three together: {full['mean'].iloc[0]:.1f} %."
    caption = (
        f"{style.method_name(method)} on {first}{' (the first of several domains)' if several else ''}:"
        " linear-probe top-1 in %. The two views of an image differ by the named operations and a flip only."
        " SimCLR found crop with colour far better than either alone. Without colour, crops of one image"
        f" share a histogram, which gives the answer away.{all_three}"
        f" {seeds_text(flat, shown=PLUS_MINUS)}.{held}"
    )

    def picture(width: float) -> Canvas:
        canvas, axis = heat_canvas(table["row"].nunique(), table["column"].nunique(), width, 8)
        heat(axis, table, rank=False, by_column=False)
        return canvas

    return _AUGMENTATIONS.figure(caption, flat, picture)


def _composed(views: str, blur: object) -> str:
    """The operations of a policy, "" if it is not one of them; ``simclr`` is crop and colour."""
    if views == "simclr":
        return "crop-colour-blur" if blur is True else "crop-colour"
    return views if views in {"crop", "colour", "crop-colour-blur"} | _COMPOSED else ""


def _places(composed: str) -> list[tuple[str, str]]:
    """The cells (row, column) of a composition: one for a single operation, two for a pair."""
    parts = composed.split("-")
    if len(parts) == 1:
        return [(parts[0], parts[0])]
    return [(parts[0], parts[1]), (parts[1], parts[0])] if len(parts) == 2 else []


def heads(frame: pd.DataFrame) -> Drawn:
    rows = finest(frame)
    rows = rows[
        rows["representation"].isin(["h", "g(h)"])
        & (rows["protocol"] == "linear")
        & (rows["fused_with"] == "")
    ]
    rows = undamaged(rows[(rows["eval_corruption"] == "none") & (rows["label_imbalance"] == 1)])
    method = main_method(rows[rows["head_layers"].notna()])
    own = own_images(rows, method)
    if own["head_layers"].nunique() < 2 and own["representation"].nunique() < 2:
        return _HEAD.gap(
            "`head_layers: [0, 1, 2]` in a pretrain block, and `representation: [h, g(h)]` in an evaluate"
            " block"
        )
    asked = own[(own["head_layers"] != 2) | (own["representation"] != "h")]
    own = at_most_labels(
        own[own["images"].isin(asked["images"]) & own["eval_domain"].isin(asked["eval_domain"])]
    )
    own, held = hold(own, ["head_layers", "representation", "eval_domain"])
    table = points(own, ["eval_domain", "head_layers", "representation"])
    caption = (
        f"{style.method_name(method)}, linear-probe top-1. h are the encoder's features; g(h) is the output"
        " of the projection head, which the loss compares. SimCLR found a non-linear head better than a"
        " linear one, a linear one better than none, and h better than g(h)."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    layers = sorted(table["head_layers"].dropna().unique())

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        marks: dict[str, Any] = {"dashes": "none", "markersize": 7}
        for i, name in enumerate(("h", "g(h)")):
            drawn = part[part["representation"] == name]
            drawn = drawn.assign(x=drawn["head_layers"].map(layers.index) + (i - 0.5) * 0.12)
            if len(drawn):
                line(axis, drawn, "x", style.hue(i), style.marker(i), position=i, label=name, **marks)
        names = [_HEADS.get(int(n), f"{n:g}").replace(", ", "\n") for n in layers]
        axis.set_xticks(range(len(layers)), names)
        axis.set_xlim(-0.5, len(layers) - 0.5)
        axis.grid(axis="x", visible=False)

    return _HEAD.figure(caption, table, domain_panels(table, panel))


def schedule(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, "linear"))
    method = main_method(rows)
    own = own_images(rows, method)
    keys = ["eval_domain", "images", "n_labels"]
    spread = (
        own.groupby(keys)[["batch", "epochs"]].nunique().max(axis=1) if len(own) else pd.Series(dtype=float)
    )
    spread = spread[spread > 1].reset_index()
    if spread.empty:
        return _SCHEDULE.gap("`batch: [64, 256]` and `epochs: [20, 60, 200]` in a pretrain block")
    best = spread.sort_values(["images", "n_labels"]).groupby("eval_domain").last()
    for name in ("images", "n_labels"):
        own = own[own[name] == own["eval_domain"].map(best[name])]
    own, held = hold(own, ["eval_domain", "batch", "epochs"])
    table = points(own, ["eval_domain", "batch", "epochs"])
    caption = (
        f"{style.method_name(method)}, linear-probe top-1 against epochs of pretraining, one line per batch"
        " size. SimCLR found that longer training helps, and that larger batches help most if training is"
        f" short. {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    batches = sorted(table["batch"].unique())
    colours = style.sequence(len(batches))
    looks = {f"batch {batch:g}": Look(colour) for batch, colour in zip(batches, colours, strict=True)}
    named = table.assign(line=[f"batch {batch:g}" for batch in table["batch"]])
    shown = [
        Panel(title=style.short(domain), rows=part, ticks=set(part["epochs"]), where={"eval_domain": domain})
        for domain, part in named.groupby("eval_domain")
    ]
    return _SCHEDULE.figure(caption, table, line_panels(shown, "epochs", "epochs", looks))
