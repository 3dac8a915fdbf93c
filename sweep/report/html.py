"""report.html: one file that opens offline, loads nothing and runs only its own few lines of script.

Every name is data and escaped by the template; a content security policy allows the one script by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import Figure, Gap
from ssl_sweep.sweep.report.findings import QUESTIONS, Finding, telling

SIGNS = {"holds": "✓", "does not hold": "✗", "not enough evidence": "?"}
"""Of a verdict, so that it does not hang on colour."""
MOST_ROWS = 400
SHOWN, ANSWERS = 4, 2
_SECTIONS = {
    "quantity": "Data quantity",
    "domain": "Data domain",
    "quality": "Image quality",
    "granularity": "Label granularity",
    "other sources": "Other sources",
    "beyond": "Beyond the paper",
}
_LENSES = {
    "pretext": "Rotation and supervised",
    "transfer": "Transfer",
    "imbalance": "Imbalance",
    "simclr": "SimCLR's choices",
}
_READING = (
    "**What a number is.** Top-1 accuracy on the dataset's fixed test images, in percent, of a classifier"
    " trained on the label budget. A linear probe is a linear one on the pretrained network, which stays as"
    " it is; fine-tuning trains the whole network; from scratch is that without pretraining. A random, or"
    " untrained, encoder has learnt nothing: the floor.",
    "**What a bar is.** The 95 % interval of the mean. n counts pretraining seeds; the seeds of the subset"
    " and of the label"
    " budget are averaged inside. It covers both the luck of the seeds and of the test images. Two bars"
    " that overlap can still"
    " differ: comparisons are made seed by seed on the same images, in the findings.",
    "**What a verdict is.** Holds: the interval of the seed-paired difference excludes 0 in the stated"
    " direction, with three"
    " or more pretraining seeds. Does not hold: it lies on the other side, or within ± 1.5 points of none."
    " Not enough"
    " evidence: anything else. “Redundant” and “saturates” are tests of equality within ± 1.5 points.",
    "**What a gap is.** × or a hatched cell is a question that the grid asks and that has no answer yet."
    " Nothing is filled in.",
    "**How far it carries.** These are statements on this data, at these sizes, with these settings. A"
    " study of a million"
    " images can come out differently from one of a thousand.",
)


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    figure: Figure
    wide: str
    narrow: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page says about itself: `facts` are names and values, `made` the last line."""

    title: str
    complete: int
    cells: int
    facts: Sequence[tuple[str, str]]
    made: str


def render(
    page: Page,
    found: Sequence[Finding],
    pictures: Sequence[Picture],
    gaps: Sequence[Gap],
    results: pd.DataFrame,
) -> str:
    """The page."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["coded"] = _coded
    script = _text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(_text("template.html")).render(
        page=page,
        css=Markup(_css()),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        signs=SIGNS,
        tally=_tally(found),
        questions=_questions(found),
        lenses=_lenses(found),
        sections=_sections(pictures),
        gaps=gaps,
        results=_table(results),
        reading=_READING,
    )


def _text(name: str) -> str:
    return files("ssl_sweep.sweep.report").joinpath(name).read_text(encoding="utf-8")


def _css() -> str:
    light, dark = style.theme_css()
    page = (
        f"color-scheme: dark; {dark} --ink: #e8ecf1; --muted: #a3adb8; --line: #343c47; --paper: #161b22;"
        f" --soft: #20262f;"
        " --link: #7cbcf5; --yes: #7fd8a3; --yes-soft: #15301f; --no: #ff9d92; --no-soft: #3a1c1a; --open:"
        " #b9c1ca;"
        " --open-soft: #262c35;"
    )
    return _text("report.css").replace("{{ light }}", light).replace("{{ dark_page }}", page)


def _coded(text: str) -> Markup:
    """Escaped, with `code` and **strong** as written."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked))


def _tally(found: Sequence[Finding]) -> list[tuple[str, int]]:
    counts = [(verdict, sum(f.verdict == verdict for f in found)) for verdict in SIGNS]
    return [(verdict, number) for verdict, number in counts if number]


def _questions(found: Sequence[Finding]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The five questions, each with the claims that answer it and their numbers."""
    return [
        (
            question,
            [
                {
                    "id": shown[0].claim_id,
                    "statement": shown[0].statement,
                    "tally": _tally(shown),
                    "findings": shown[:ANSWERS],
                }
                for shown in telling(claims, found)
            ],
        )
        for question, claims in QUESTIONS
    ]


def _lenses(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings by lens and claim, in the order given; the first few of a claim, the others folded."""
    lenses: dict[str, dict[str, list[Finding]]] = {}
    for finding in found:
        lenses.setdefault(finding.lens, {}).setdefault(finding.claim_id, []).append(finding)
    titles = _SECTIONS | _LENSES
    return [
        {
            "title": titles.get(lens, lens),
            "claims": [
                {
                    "id": id,
                    "statement": group[0].statement,
                    "source": group[0].source,
                    "findings": group[:SHOWN],
                    "more": group[SHOWN:],
                }
                for id, group in claims.items()
            ],
        }
        for lens, claims in lenses.items()
    ]


def _sections(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    sections = []
    for name, title in _SECTIONS.items():
        shown = [
            {
                "name": p.figure.name,
                "title": p.figure.title,
                "caption": p.figure.caption,
                "wide": Markup(p.wide),
                "narrow": Markup(p.narrow),
                "table": _table(p.figure.data),
            }
            for p in pictures
            if p.figure.section == name
        ]
        if shown:
            sections.append({"id": name.replace(" ", "-"), "title": title, "figures": shown})
    return sections


def _table(data: pd.DataFrame) -> dict[str, Any]:
    rows = [[_cell(value) for value in row] for row in data.head(MOST_ROWS).itertuples(index=False)]
    return {
        "columns": [str(name).replace("_", " ") for name in data.columns],
        "rows": rows,
        "total": len(data),
    }


def _cell(value: Any) -> dict[str, Any]:
    """Text to show and the number to sort by, None for words."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return {"text": "", "value": None}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"text": str(value), "value": None}
    whole = float(value).is_integer()
    return {
        "text": f"{value:,.0f}" if whole else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}",
        "value": repr(float(value)),
    }
