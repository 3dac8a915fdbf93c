"""What the other sources found: rotation against supervised by label budget (RotNet), and SimCLR's choices:
which augmentations together, which head and what it takes away, batch size and epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.curves import NotFitted, crossover
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Figure,
    Gap,
    crossing_text,
    gaps_text,
    halves_text,
    heat,
    heat_canvas,
    label_ends,
    last_value,
    legend,
    line,
    panels,
    points,
    same_limits,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    hold,
    in_domain,
    judged,
    main_method,
    own_images,
    pretrained,
    scratch,
    undamaged,
)
from ssl_sweep.sweep.report.figures.overlay import dashed, name_dashed, of_panel
from ssl_sweep.sweep.report.frame import finest

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_OPERATIONS = ("crop", "colour", "blur")
_COMPOSED = {"crop-colour", "crop-blur", "colour-blur"}
_HEADS = {0: "no head", 1: "linear", 2: "non-linear, 2 layers", 3: "non-linear, 3 layers"}


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [rotation(frame), augmentations(frame), heads(frame), schedule(frame)]


def rotation(frame: pd.DataFrame) -> Drawn:
    title = "Rotation pretraining against supervised learning, by label budget"
    rows = undamaged(judged(frame, None))
    own = in_domain(pretrained(rows, "rotation"))
    labels_only = scratch(rows[rows["eval_domain"].isin(own["eval_domain"])])
    if own.empty or labels_only.empty:
        reason = (
            "`method: rotation` in a pretrain block, `protocol: [linear, fine-tune]` with several"
            " `labels`, and `method: random` for from scratch"
        )
        return Gap(section="other sources", name="rotation", title=title, reason=reason)
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
    said = "; ".join(f"{domain} {crossing_text(found)}" for domain, found in crossings.items())
    caption = (
        "Rotation pretraining on the evaluation domain's images, then labels; diamonds: labels alone. Few"
        f" labels favour pretraining; where the lines cross it stops paying. Crossing: {said}."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )

    looks = {
        "rotation, linear": (style.hue(0), "o"),
        "rotation, fine-tune": (style.hue(1), "s"),
        "from scratch": (style.INK, "D"),
    }
    colours = {name: colour for name, (colour, _) in looks.items()}

    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        canvas, axes = panels(len(crossings), width, per_row=3)
        theirs = [of_panel(published, eval_domain=domain) for domain in crossings]
        for axis, (domain, found), over in zip(axes, crossings.items(), theirs, strict=True):
            part = table[table["eval_domain"] == domain]
            style.log_counts(axis, sorted({*part["n_labels"], *over.get("n_labels", ())}), "labelled images")
            ends = []
            for i, (name, (colour, mark)) in enumerate(looks.items()):
                drawn = part[part["line"] == name]
                if len(drawn):
                    line(axis, drawn, "n_labels", colour, mark, position=i, label=name)
                    ends.append((last_value(drawn, "n_labels"), name, colour))
            if not isinstance(found, NotFitted):
                axis.axvline(found.mean, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
                if found.low is not None and found.high is not None:
                    axis.axvspan(found.low, found.high, color=style.MUTED, alpha=0.12, linewidth=0)
            axis.set_title(style.short(domain))
            dashed(axis, over, "n_labels", colours)
            if len(axes) == 1 and published is None:
                label_ends(axis, ends)
        same_limits(axes)
        for axis, over in zip(axes, theirs, strict=True):
            name_dashed(axis, over, "n_labels", colours)
        axes[0].set_ylabel("top-1 accuracy, %")
        if len(axes) > 1 or published is not None:
            legend(canvas, axes, width)
        return canvas

    return Figure(
        section="other sources", name="rotation", title=title, caption=caption, data=table, draw=picture
    )


def augmentations(frame: pd.DataFrame) -> Drawn:
    title = "Augmentations: alone (diagonal) and two together"
    rows = undamaged(judged(frame, "linear"))
    method = main_method(rows)
    own = own_images(rows, method)
    own = own.assign(composed=[_composed(v, b) for v, b in zip(own["views"], own["blur"], strict=True)])
    own = own[own["composed"] != ""]
    if own["composed"].nunique() < 2:
        reason = "`views: [crop, colour, crop-colour]` in a pretrain block (each also with `-blur`)"
        return Gap(section="other sources", name="augmentations", title=title, reason=reason)
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
    beyond = (
        f" All three together: {full['mean'].iloc[0]:.1f} %."
        if len(full) and full["mean"].notna().all()
        else ""
    )
    caption = (
        f"{style.method_name(method)} on"
        f" {first}{' (the first of several domains)' if several else ''}: linear-probe top-1, %, when the"
        f" two views"
        " differ by the named operations and a flip only. SimCLR found crop with colour far better than"
        " either alone:"
        f" without colour, crops of one image share a histogram, which gives the answer away.{beyond}"
        f" {halves_text(flat)}.{held}"
    )

    def picture(width: float) -> Canvas:
        canvas, axis = heat_canvas(table["row"].nunique(), table["column"].nunique(), width, 8)
        heat(axis, table, rank=False, by_column=False)
        return canvas

    return Figure(
        section="other sources", name="augmentations", title=title, caption=caption, data=flat, draw=picture
    )


def _composed(views: str, blur: object) -> str:
    """The operations of a named policy; `simclr` is crop and colour, with blur or without."""
    if views == "simclr":
        return "crop-colour-blur" if blur is True else "crop-colour"
    return views if views in {"crop", "colour", "crop-colour-blur"} | _COMPOSED else ""


def _places(composed: str) -> list[tuple[str, str]]:
    parts = composed.split("-")
    if len(parts) == 1:
        return [(parts[0], parts[0])]
    return [(parts[0], parts[1]), (parts[1], parts[0])] if len(parts) == 2 else []


def heads(frame: pd.DataFrame) -> Drawn:
    title = "Projection head: none, linear, non-linear; features before and after it"
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
        reason = (
            "`head_layers: [0, 1, 2]` in a pretrain block, and `representation: [h, g(h)]` in an evaluate"
            " block"
        )
        return Gap(section="other sources", name="heads", title=title, reason=reason)
    asked = own[(own["head_layers"] != 2) | (own["representation"] != "h")]
    own = at_most_labels(
        own[own["images"].isin(asked["images"]) & own["eval_domain"].isin(asked["eval_domain"])]
    )
    own, held = hold(own, ["head_layers", "representation", "eval_domain"])
    table = points(own, ["eval_domain", "head_layers", "representation"])
    caption = (
        f"{style.method_name(method)}, linear-probe top-1. h are the encoder's features, g(h) the"
        f" projection head's output, which the loss"
        " compares. SimCLR found: non-linear better than linear better than none, and h better than g(h)."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )

    def picture(width: float) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3)
        layers = sorted(table["head_layers"].dropna().unique())
        for axis, domain in zip(axes, domains, strict=True):
            for i, (name, colour) in enumerate((("h", style.hue(0)), ("g(h)", style.hue(1)))):
                part = table[(table["eval_domain"] == domain) & (table["representation"] == name)]
                part = part.assign(x=part["head_layers"].map(layers.index) + (i - 0.5) * 0.12)
                if len(part):
                    line(
                        axis,
                        part,
                        "x",
                        colour,
                        style.marker(i),
                        dashes="none",
                        position=i,
                        label=name,
                        markersize=7,
                    )
            axis.set_xticks(
                range(len(layers)), [_HEADS.get(int(n), f"{n:g}").replace(", ", "\n") for n in layers]
            )
            axis.set_xlim(-0.5, len(layers) - 0.5)
            axis.grid(axis="x", visible=False)
            axis.set_title(style.short(domain))
        same_limits(axes)
        axes[0].set_ylabel("top-1 accuracy, %")
        legend(canvas, axes, width)
        return canvas

    return Figure(
        section="other sources", name="heads", title=title, caption=caption, data=table, draw=picture
    )


def schedule(frame: pd.DataFrame) -> Drawn:
    title = "Batch size and training length"
    rows = undamaged(judged(frame, "linear"))
    method = main_method(rows)
    own = own_images(rows, method)
    keys = ["eval_domain", "images", "n_labels"]
    spread = (
        own.groupby(keys)[["batch", "epochs"]].nunique().max(axis=1) if len(own) else pd.Series(dtype=float)
    )
    spread = spread[spread > 1].reset_index()
    if spread.empty:
        reason = "`batch: [64, 256]` and `epochs: [20, 60, 200]` in a pretrain block"
        return Gap(section="other sources", name="batch-epochs", title=title, reason=reason)
    best = spread.sort_values(["images", "n_labels"]).groupby("eval_domain").last()
    for name in ("images", "n_labels"):
        own = own[own[name] == own["eval_domain"].map(best[name])]
    own, held = hold(own, ["eval_domain", "batch", "epochs"])
    table = points(own, ["eval_domain", "batch", "epochs"])
    caption = (
        f"{style.method_name(method)}, linear-probe top-1 against epochs of pretraining, one line per"
        f" batch size. SimCLR found that larger"
        f" batches help most when training is short, and that longer training helps."
        f" {seeds_text(table)}."
        f"{held}{gaps_text(table)}"
    )

    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3)
        batches = sorted(table["batch"].unique())
        colours = dict(
            zip((f"batch {batch:g}" for batch in batches), style.sequence(len(batches)), strict=True)
        )
        theirs = [of_panel(published, eval_domain=domain) for domain in domains]
        for axis, domain, over in zip(axes, domains, theirs, strict=True):
            part = table[table["eval_domain"] == domain]
            style.log_counts(axis, sorted({*part["epochs"], *over.get("epochs", ())}), "epochs")
            ends = []
            for i, (batch, (name, colour)) in enumerate(zip(batches, colours.items(), strict=True)):
                drawn = part[part["batch"] == batch]
                if len(drawn):
                    line(axis, drawn, "epochs", colour, "o", position=i, label=name)
                    ends.append((last_value(drawn, "epochs"), name, colour))
            axis.set_title(style.short(domain))
            dashed(axis, over, "epochs", colours)
            if len(axes) == 1 and published is None:
                label_ends(axis, ends)
        same_limits(axes)
        for axis, over in zip(axes, theirs, strict=True):
            name_dashed(axis, over, "epochs", colours)
        axes[0].set_ylabel("top-1 accuracy, %")
        if len(axes) > 1 or published is not None:
            legend(canvas, axes, width, list(colours))
        return canvas

    return Figure(
        section="other sources", name="batch-epochs", title=title, caption=caption, data=table, draw=picture
    )
