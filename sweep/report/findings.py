"""All findings of a sweep, and findings.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from ssl_sweep.sweep.report.claims import CLAIMS
from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.wording import LENSES, READING, SIGNS
from ssl_sweep.sweep.report.compare import compact, ordered
from ssl_sweep.sweep.report.frame import EVALUATION, PRETRAINING, finest
from ssl_sweep.sweep.report.paper import paper_difference
from ssl_sweep.sweep.report.statistics import Runs

QUESTIONS = (
    ("How many unlabelled images?", ("quantity.saturates", "quantity.first-doublings", "quantity.pays")),
    ("How many labels?", ("quantity.crossover", "quantity.few-labels", "quantity.many-labels")),
    ("Which domain to pretrain on?", ("domain.in-domain-best", "domain.pooled", "domain.fusion")),
    ("What do bad images cost?", ("quality.costs", "quality.downsampling")),
    ("How fine may the labels be?", ("granularity.gap-grows",)),
)
"""The five questions and the claims that answer them, the most important first."""
_SHOWN, _ROWS = 2, 24


def findings(frame: pd.DataFrame, claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Every claim judged on the finished cells; a claim that the sweep has no cells for gives no finding.

    The order of the rows and the ids of cells do not matter.
    """
    if frame.empty:
        return []
    rows = frame.drop_duplicates(["pretrain_id", *EVALUATION, "probe_seed", "status"])
    rows = rows.assign(top1=rows["top1"].where(rows["status"] == "complete"))
    rows = ordered(compact(rows[list(dict.fromkeys([*PRETRAINING, *EVALUATION, *Runs.COLUMNS]))]))
    fine = finest(rows)
    return [one for claim in claims for one in claim.judge(claim, rows if claim.all_levels else fine)]


def telling(claims: Sequence[str], found: Sequence[Finding]) -> list[list[Finding]]:
    """The findings that answer a question, by claim; decided ones first.

    They are those of the first claim that the sweep has cells for. If none of them is decided, those of the
    first claim with a decided finding follow.
    """
    asked = [[one for one in found if one.claim_id == claim] for claim in claims]
    asked = [sorted(ones, key=_open) for ones in asked if ones]
    decided = next((ones for ones in asked if not _open(ones[0])), None)
    return [ones for ones in asked[:1] if ones is not decided] + ([decided] if decided else [])


def _open(one: Finding) -> bool:
    return one.verdict == "not enough evidence"


def findings_markdown(found: Sequence[Finding], *, title: str = "", complete: int = 0, cells: int = 0) -> str:
    """findings.md: the answers to the five questions, the findings of each lens, and how to read them.

    Args:
        title: of the sweep.
        complete: how many of its ``cells`` are finished.
    """
    lines = ["# Findings" + (f": {_escaped(title)}" if title else ""), ""]
    if complete < cells:
        lines += [
            f"**This sweep is not finished**: {complete:,} of {cells:,} cells. All findings rest on those.",
            "",
        ]
    lines += _rows(["question", "verdict", "statement", "on", "labels", "result"], _answers(found))
    for lens, heading in LENSES.items():
        mine = [one for one in found if one.lens == lens]
        if mine:
            lines += ["", f"## {heading}", "", *_lens(mine)]
    asked = {one.claim_id for one in found}
    missing = [claim for claim in CLAIMS if claim.id not in asked]
    if missing:
        lines += ["", "## Not asked by this sweep", ""]
        lines += [f"- {claim.statement} ({claim.source}): needs {claim.needs}." for claim in missing]
    lines += ["", "## How to read this", "", *(f"- {paragraph}" for paragraph in READING)]
    return "\n".join(lines) + "\n"


def _answers(found: Sequence[Finding]) -> Iterator[list[str]]:
    """The rows of the five questions; the question itself stands in the first of its rows."""
    for number, (question, claims) in enumerate(QUESTIONS, 1):
        name = f"{number}. {question}"
        for ones in telling(claims, found):
            for one in ones[:_SHOWN]:
                yield [name, *_judged(one), _budget(one), one.brief]
                name = ""
            if len(ones) > _SHOWN:
                yield ["", "", f"and {len(ones) - _SHOWN} more below", "", "", ""]
        if name:
            needs = next(claim.needs for claim in CLAIMS if claim.id == claims[0])
            yield [name, "", f"not asked by this sweep; it needs {needs}", "", "", ""]


def _lens(found: Sequence[Finding]) -> Iterator[str]:
    """The table of a lens, and its findings in sentences."""
    rows, details = [], []
    for claim in dict.fromkeys(one.claim_id for one in found):
        mine = [one for one in found if one.claim_id == claim]
        for one in mine[:_ROWS]:
            there = "; ".join(filter(None, (paper_difference(one.paper_key), one.source)))
            rows.append([*_judged(one), _budget(one), one.brief, str(one.n), there])
            needs = f" To decide it: {one.needs}." if one.needs else ""
            details.append(f"- {_escaped(one.detail)}{needs}")
        if len(mine) > _ROWS:
            details.append(f"- {len(mine) - _ROWS} more of “{mine[0].statement}” are not shown here.")
    yield from _rows(["verdict", "statement", "on", "labels", "ours", "n", "the source found"], rows)
    yield ""
    yield from details


def _judged(one: Finding) -> list[str]:
    return [f"{SIGNS[one.verdict]} {one.verdict}", one.statement, one.scope]


def _budget(one: Finding) -> str:
    return "several" if one.budget is None else f"{one.budget:,}"


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        cells = [_escaped(text).replace("|", "\\|") for text in row]
        yield f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text in one line, with names that cannot act as markup."""
    return (
        " ".join(text.split())
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace("[", "\\[")
        .replace("*", "\\*")
    )
