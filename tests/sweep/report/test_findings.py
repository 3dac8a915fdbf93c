"""findings.md as a manager reads it."""

from __future__ import annotations

from results_frame import Table

from ssl_sweep.sweep.report.findings import QUESTIONS, findings, findings_markdown


def _sweep() -> Table:
    table = Table(seed_noise=0.002, n_test=4000)
    for images, top1 in ((2000, 0.40), (4000, 0.50), (8000, 0.501)):
        table.add(top1, images=images)
    return table.add(0.3, method="random").add(0.45, images=8000, pretrain_domain="land")


def test_it_begins_with_the_five_answers() -> None:
    lines = findings_markdown(findings(_sweep().frame())).splitlines()
    assert lines[0] == "# Findings"
    table = lines[4 : lines.index("", 2)]
    answers = [line for line in table if not line.startswith("|  |")]
    for number, ((question, _), line) in enumerate(zip(QUESTIONS, answers, strict=True), 1):
        assert line.startswith(f"| {number}. {question} |")
    assert "from 4,000 to 8,000 unlabelled images" in answers[0] and "| ✓ holds |" in answers[0]
    assert "not asked by this sweep; it needs" in answers[3]


def test_ours_stands_beside_the_source() -> None:
    text = findings_markdown(findings(_sweep().frame()))
    (row,) = [
        line
        for line in text.splitlines()
        if line.startswith("| ✓ holds | The last doubling of unlabelled images changes")
    ]
    assert row.startswith("| ✓ holds |") and "n = 3" in row
    assert "500k → 1M images: +1.1 points (DIGITISED, ± 0.4)" in row and "Cole et al. 2022" in row
    assert "## Not asked by this sweep" in text and "BYOL beats SimCLR" in text


def test_what_is_undecided_says_what_would_decide_it() -> None:
    text = findings_markdown(findings(Table().add(0.5, images=2000, seeds=(0,)).add(0.5, seeds=(0,)).frame()))
    assert "no interval" in text
    assert "3 pretraining seeds on every side" in text


def test_nothing_to_say_is_said() -> None:
    text = findings_markdown([])
    assert text.count("not asked by this sweep; it needs") == len(QUESTIONS)


def test_a_name_is_no_markup() -> None:
    table = (
        Table()
        .add(0.5, eval_domain="<img>[x](y)\n|b")
        .add(0.4, method="random", eval_domain="<img>[x](y)\n|b")
    )
    table.rows = [
        {**row, "pretrain_domain": row["pretrain_domain"] and row["eval_domain"]} for row in table.rows
    ]
    text = findings_markdown(findings(table.frame()), title="<b>")
    assert text.startswith("# Findings: &lt;b>\n")
    assert "<img>" not in text and "&lt;img>\\[x](y) \\|b" in text


def test_a_name_turns_no_number_or_verdict_around() -> None:
    table = Table(n_test=50).add(0.5, eval_domain="a\u202eb\nc", pretrain_domain="a\u202eb\nc")
    text = findings_markdown(findings(table.add(0.4, method="random", eval_domain="a\u202eb\nc").frame()))
    assert "\u202e" not in text and "a b c" in text


def test_what_has_no_number_yet_is_still_a_sentence() -> None:
    table = Table(n_test=50).add(0.5).add(0.4, corruption="jpeg", status="waiting")
    text = findings_markdown(findings(table.frame()))
    assert "jpeg costs ? points (no pretraining seed has both sides yet)" in text


def test_stars_in_a_name_are_no_emphasis() -> None:
    table = Table().add(0.5, images=2000, eval_domain="*a*", pretrain_domain="*a*")
    text = findings_markdown(findings(table.add(0.4, method="random", eval_domain="*a*").frame()))
    assert "\\*a\\*" in text and " *a*" not in text


def test_of_very_many_differences_those_that_decide_are_said_and_the_others_counted() -> None:
    table = Table(seed_noise=0.001, n_test=4000).add(0.5)
    for i in range(30):
        table.add(0.6 if i == 17 else 0.3, pretrain_domain=f"other {i:02d}")
    (one,) = [f for f in findings(table.frame()) if f.claim_id == "domain.in-domain-best"]
    assert one.verdict == "does not hold" and one.brief.startswith(
        "pretraining on scenes minus pretraining on other 17:"
    )
    assert one.brief.count("minus") == 5 and one.brief.endswith("and 25 more such differences: 25 × holds")


def test_the_question_asked_is_answered_also_where_only_another_is_decided() -> None:
    table = Table(seed_noise=0.02)
    for images, top1 in ((2000, 0.30), (4000, 0.50), (8000, 0.52)):
        table.add(top1, images=images)
    first, second = findings_markdown(findings(table.frame())).splitlines()[4:6]
    assert "| ? not enough evidence | The last doubling" in first and "| ✓ holds |" in second
