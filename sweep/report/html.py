"""report.html: one file that opens offline, loads nothing and runs only its own few lines of script.

The template escapes every name. A content security policy allows the one script by its hash.
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
from ssl_sweep.sweep.report.claims.finding import Finding
from ssl_sweep.sweep.report.claims.wording import LENSES, READING, SIGNS
from ssl_sweep.sweep.report.figures.base import Figure, Gap
from ssl_sweep.sweep.report.findings import QUESTIONS, telling

MOST_ROWS = 400
"""Rows of a table in the page; files beside it have all."""
SHOWN, ANSWERS = 4, 2
"""Findings of a claim that are not folded, and those shown with a question."""
_SECTIONS = {name: LENSES[name] for name in ("quantity", "domain", "quality", "granularity")} | {
    "other sources": "Other sources",
    "beyond": "Beyond the paper",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: one SVG for a desktop, one for a phone."""

    figure: Figure
    wide: str
    narrow: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page says about the sweep and about itself."""

    title: str
    complete: int
    """Finished cells, of ``cells``."""
    cells: int
    facts: Sequence[tuple[str, str]]
    """Names and values."""
    made: str
    """The last line."""


def render(
    page: Page,
    found: Sequence[Finding],
    pictures: Sequence[Picture],
    gaps: Sequence[Gap],
    results: pd.DataFrame,
) -> str:
    """The page as HTML.

    Args:
        gaps: figures that the sweep has no cells for.
        results: the table of means.
    """
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
        reading=READING,
    )


def _text(name: str) -> str:
    return files("ssl_sweep.sweep.report").joinpath(name).read_text(encoding="utf-8")


def _css() -> str:
    light, dark = style.theme_css()
    page = (
        f"color-scheme: dark; {dark} --ink: #e8ecf1; --muted: #a3adb8; --line: #343c47; --paper: #161b22;"
        " --soft: #20262f; --link: #7cbcf5; --yes: #7fd8a3; --yes-soft: #15301f; --no: #ff9d92;"
        " --no-soft: #3a1c1a; --open: #b9c1ca; --open-soft: #262c35;"
    )
    return _text("report.css").replace("{{ light }}", light).replace("{{ dark_page }}", page)


def _coded(text: str) -> Markup:
    """Escaped text, with `code` and **strong** as HTML."""
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
    """Findings by lens and claim, in the order given; those after the first few of a claim are folded."""
    lenses: dict[str, dict[str, list[Finding]]] = {}
    for finding in found:
        lenses.setdefault(finding.lens, {}).setdefault(finding.claim_id, []).append(finding)
    return [
        {
            "title": LENSES[lens],
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
    """The text to show and the number to sort by; None for words."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return {"text": "", "value": None}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"text": str(value), "value": None}
    whole = float(value).is_integer()
    return {
        "text": f"{value:,.0f}" if whole else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}",
        "value": repr(float(value)),
    }
