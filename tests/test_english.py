"""Every sentence that a user or developer reads is plain English: these phrases are not used anywhere."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ODD = (
    r"\bis none\b",
    r"\bare none\b",
    r"\bas none\b",
    r"\bmend(s|ed|ing)?\b",
    r"\b(is|are|was|were|be) told\b",
    r"\btold (of|from|how|by)\b",
    r"\bnobody\b",
    r"\bputs? in safety\b",
    r"\b(is|are) no (address|name|class|file|folder|store|number|image)(s|es)?\b",
    r"\b(is|are) no (grid|dataset|method|terminal|integer)s?\b",
    r"\b(None|True|False|empty|''|``|0|[A-Z]\w+Error) where\b",
    r"\bwhere (none|nothing|not|it is none|there (is|are) none)\b",
    r"\bothers than\b",
    r"\bare others\b",
    r"\bagain may do\b",
    r"\bof which (nothing|none)\b",
    r"\bwhose time\b",
    r"\b[Tt]he wish to\b",
    r"\bdied of\b",
    r"\bby kind\b",
    r"\bgo(es)? on from\b",
    r"\basked after\b",
    r"\btakes? the record away\b",
    r"\bof a kind that\b",
    r"\bwithout a word\b",
    r"\bwhat is to be\b",
    r"\bfor as long as one\b",
    r"\bone's own\b",
    r"\bin vain\b",
    r"\bof so many\b",
    r"\bsuch an? (one|thing)\b",
    r"\b(is|are) begun\b",
    r"\banew\b",
    r"\bnot there any ?more\b",
    r"\b(there|where)(of|in|upon)\b",
    r"\b(dashboard|cells|arrays|machine|name|that|itself) alone\b",
    r"\bstays? away\b",
    r"\bin the place of\b",
    r"\b[Ww]hoever\b",
    r"\bfor want of\b",
    r"\bto the letter\b",
    r"\bhas (it|them) no\b",
    r"\bcan be had\b",
    r"\bis not to be\b",
    r"\bno more than there is\b",
    r"\bsomebody\b",
    r"\bones? of another\b",
    r"\bwhat it is of\b",
    r"\bleft to itself\b",
    r"\bsays? nothing of\b",
    r"\bknows? nothing of\b",
    r"\b(comes?|came) to nothing\b",
    r"\bthe one or the other\b",
    r"\bits like\b",
    r"\bOf (a|an|the|all|every|each|one|two|several|such|those|equal|equally|fused|other)\b",
    r"\bof equals\b",
    r"\b[Rr]eturn as in\b",
    r"\b(at most|at least|with|in|by) so (many|much|long)\b",
    r"\bso many (seconds|steps|letters|workers|notes|images) (later|to|of|if|about)\b",
    r"\bevery this many\b",
    r"\bblocks are united\b",
    r"\bplayed through\b",
    r"\btakes? none\b",
    r"\bcounts? again\b",
    r"\bother bytes\b",
    r"\bis no conflict\b",
    r"\bin any case of\b",
    r"\bof them in small\b",
    r"\bleave it out\b",
    r"\b(write|written|damaged|rounded) (both |both splits )?alike\b",
    r"\bnot one of (its|the|their)\b",
    r"\ball the same\b",
    r"\bgave it up\b",
    r"\bhence\b",
    r"\baslant\b",
    r"\bbesides (their|its|the|lines|metrics|pixels)\b",
    r"\b(is|are) (surely )?(a|one is a) slip\b",
    r"\bit comes to\b",
    r"\bcomes? of it\b",
    r"\bas far as (they|it|that) (has|have|is)\b",
    r"\b[Dd]ata sets?\b",
    r"\border of damages\b",
    r"\bstop when they are used\b",
    r"\bto choose by\b",
    r"\bfits? all of this\b",
    r"\bif you meant the\b",
    r"\bthe one that you mean\b",
)
PATTERN = re.compile("|".join(ODD))
PROSE = [
    *(ROOT / "docs").rglob("*.md"),
    *ROOT.glob("*.md"),
    *(ROOT / "examples").glob("*.yaml"),
    *(ROOT / "sweep").rglob("*.yaml"),
]
CODE = [
    ROOT / "cli.py",
    ROOT / "__init__.py",
    *(path for part in ("sweep", "ssl_core", "data_ops", "examples") for path in (ROOT / part).rglob("*.py")),
]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)


def spoken(path: Path) -> Iterator[tuple[int, str]]:
    """The strings and comments of a module, each with its first line."""
    text = path.read_text(encoding="utf-8")
    for stage in ast.walk(ast.parse(text)):
        if isinstance(stage, ast.Constant) and isinstance(stage.value, str):
            yield stage.lineno, re.sub(r"\s+", " ", stage.value)
    comments = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append((token.start[0], token.string.lstrip("# ")))
    yield from comments
    for (line, first), (after, second) in pairwise(comments):
        if after == line + 1:  # a sentence that is broken by the line's end
            yield line, f"{first} {second}"


def test_the_list_is_long_enough() -> None:
    assert len(set(ODD)) >= 40


@pytest.mark.parametrize("part", ["docs", "cli", "sweep", "ssl_core", "data_ops"])
def test_no_odd_phrase(part: str) -> None:
    texts = [(path, prose(path)) for path in PROSE] if part == "docs" else []
    texts += [(p, spoken(p)) for p in CODE if part in p.relative_to(ROOT).with_suffix("").parts]
    found = {
        f"{path.relative_to(ROOT)}:{line}: {match.group()!r}"
        for path, lines in texts
        for line, text in lines
        for match in PATTERN.finditer(text)
    }
    assert not found, "\n".join(sorted(found))
