"""All findings of a sweep, and findings.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from ssl_sweep.sweep.report.claims import CLAIMS
from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.compare import compact
from ssl_sweep.sweep.report.frame import EVALUATION, PRETRAINING, finest
from ssl_sweep.sweep.report.paper import paper_difference
from ssl_sweep.sweep.report.statistics import Runs

__all__ = ["CLAIMS", "Claim", "Finding", "findings", "findings_markdown", "unasked"]

QUESTIONS = (
    ("How many unlabelled images?", ("quantity.saturates", "quantity.first-doublings", "quantity.pays")),
    ("How many labels?", ("quantity.crossover", "quantity.few-labels", "quantity.many-labels")),
    ("Which domain to pretrain on?", ("domain.in-domain-best", "domain.pooled", "domain.fusion")),
    ("What do bad images cost?", ("quality.costs", "quality.downsampling")),
    ("How fine may the labels be?", ("granularity.gap-grows",)),
)
"""The five questions and the claims that answer them, the most telling first."""
_LENSES = {
    "quantity": "Data quantity",
    "domain": "Domain",
    "quality": "Image quality",
    "granularity": "Label granularity",
    "pretext": "Pretext tasks and methods",
    "transfer": "Transfer",
    "imbalance": "Long tails",
    "simclr": "SimCLR's own findings",
}
_SIGNS = {"holds": "✔", "does not hold": "✘", "not enough evidence": "?"}
_SHOWN, _ROWS = 2, 24
_HOW_TO_READ = (
    "- **Pretraining** shows a network images without their labels; supervised pretraining shows the labels"
    " too. **labels** is how many labelled images are learnt from afterwards.",
    "- A **linear probe**: the pretrained network stays as it is and a linear classifier on its output learns"
    " the labels. **Fine-tuning**: the whole network learns them. **From scratch**: the whole network, not"
    " pretrained. An **untrained encoder**: a linear probe of a network that has learnt nothing.",
    "- **points**: percentage points of top-1 accuracy, the share of test images whose first answer is"
    " right.",
    "- **n** is the number of pretraining seeds; subset and label-budget seeds are averaged within each.",
    "- **95 %** intervals are over pretraining seeds and test images, the same on both sides.",
    "- **holds**: at least 3 seeds, and the interval excludes 0 on the claimed side.",
    "- **does not hold**: at least 3 seeds, and the interval is on the other side or within ± 1.5 points.",
    '- "Equals" and "less than 1.5 points" hold within ± 1.5 points, and do not wholly outside of it.',
    "- **not enough evidence** is all else and says nothing about the statement.",
)


def findings(frame: pd.DataFrame, claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Every claim judged on what is there, by lens; a claim whose cells a sweep lacks gives no finding."""
    if frame.empty:
        return []
    rows = frame.drop_duplicates(["pretrain_id", *EVALUATION, "probe_seed", "status"])
    rows = rows.assign(top1=rows["top1"].where(rows["status"] == "complete"))
    rows = compact(rows[list(dict.fromkeys([*PRETRAINING, *EVALUATION, *Runs.COLUMNS]))])
    fine = finest(rows)
    return [one for claim in claims for one in claim.judge(claim, rows if claim.all_levels else fine)]


def unasked(found: Sequence[Finding]) -> list[Claim]:
    """The claims that a sweep has no cells for."""
    asked = {one.claim_id for one in found}
    return [claim for claim in CLAIMS if claim.id not in asked]


def answers(found: Sequence[Finding]) -> list[tuple[str, str]]:
    """The five questions, each with its answer in a line."""
    return [(question, _answer(claims, found)) for question, claims in QUESTIONS]


def _answer(claims: Sequence[str], found: Sequence[Finding]) -> str:
    chosen = telling(claims, found)
    if not chosen:
        claim = next(claim for claim in CLAIMS if claim.id == claims[0])
        return f"not asked by this sweep; it needs {claim.needs}."
    return " ".join(_said(ones) for ones in chosen)


def telling(claims: Sequence[str], found: Sequence[Finding]) -> list[list[Finding]]:
    """Of the claims that answer a question the findings of the first that is asked, decided ones first; and
    where it has none, those of the first that has."""
    asked = [[one for one in found if one.claim_id == claim] for claim in claims]
    asked = [sorted(ones, key=_open) for ones in asked if ones]
    decided = next((ones for ones in asked if not _open(ones[0])), None)
    return [ones for ones in asked[:1] if ones is not decided] + ([decided] if decided else [])


def _open(one: Finding) -> bool:
    return one.verdict == "not enough evidence"


def _said(ones: Sequence[Finding]) -> str:
    said = [_plain(f"{one.scope}{_at(one)}: {one.brief} – {one.verdict}") for one in ones[:_SHOWN]]
    more = f" And {len(ones) - _SHOWN} more below." if len(ones) > _SHOWN else ""
    return f"{ones[0].statement}? {'; '.join(said)}.{more}"


def _plain(text: str) -> str:
    """Text whose names are no markup and break no line."""
    return (
        " ".join(text.split())
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace("[", "\\[")
        .replace("*", "\\*")
    )


def _at(one: Finding) -> str:
    return "" if one.budget is None else f" ({one.budget:,} labels)"


def findings_markdown(found: Sequence[Finding], *, title: str = "", complete: int = 0, cells: int = 0) -> str:
    """findings.md: the manager's five questions answered, then each lens, then how to read it. `title` of the
    sweep, of whose `cells` so many are `complete`."""
    lines = ["# Findings" + (f": {_plain(title)}" if title else ""), ""]
    if complete < cells:
        lines += [
            f"**This sweep is not finished**: {complete:,} of {cells:,} cells. All here rests on those.",
            "",
        ]
    lines += [f"{i}. **{question}** {answer}" for i, (question, answer) in enumerate(answers(found), 1)]
    for lens, title in _LENSES.items():
        mine = [one for one in found if one.lens == lens]
        if mine:
            lines += ["", f"## {title}", "", *_lens(mine)]
    missing = unasked(found)
    if missing:
        lines += ["", "## Not asked by this sweep", ""]
        lines += [f"- {claim.statement} ({claim.source}): needs {claim.needs}." for claim in missing]
    lines += ["", "## How to read this", "", *_HOW_TO_READ]
    return "\n".join(lines) + "\n"


def _lens(found: Sequence[Finding]) -> Iterator[str]:
    yield "| verdict | statement | on | labels | ours | n | the source found |"
    yield "|---|---|---|---|---|---|---|"
    details: list[str] = []
    for claim in dict.fromkeys(one.claim_id for one in found):
        mine = [one for one in found if one.claim_id == claim]
        for one in mine[:_ROWS]:
            budget = "several" if one.budget is None else f"{one.budget:,}"
            there = "; ".join(filter(None, (paper_difference(one.paper_key), one.source)))
            verdict = f"{_SIGNS[one.verdict]} {one.verdict}"
            cells = [verdict, one.statement, one.scope, budget, one.brief, str(one.n), there]
            yield "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"
            needs = f" To decide it: {one.needs}." if one.needs else ""
            details.append(f"- {_plain(one.detail)}{needs}")
        if len(mine) > _ROWS:
            details.append(f"- {len(mine) - _ROWS} more of “{mine[0].statement}” are left out here.")
    yield ""
    yield from details
