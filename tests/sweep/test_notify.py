"""Who is told how a run ended, where it ended in a way that nobody foresaw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweep.errors import InfeasibleError
from sweep.notify import notified
from sweep.run import RunResult


@pytest.mark.parametrize(
    ("error", "code"), [(InfeasibleError("too large for s3://me:pw@host"), 3), (ValueError("a bug"), 1)]
)
def test_a_run_that_ends_by_an_error_is_told_and_the_error_goes_on(
    tmp_path: Path, error: Exception, code: int
) -> None:
    def work() -> RunResult:
        raise error

    file, said = tmp_path / "told.json", list[str]()
    with pytest.raises(type(error)):
        notified(f"sh -c 'cat > {file}'", work, said.append)
    told = json.loads(file.read_text())
    assert (told["outcome"], told["exit_code"]) == ("failed", code) and "pw" not in told["message"]
    assert said == []
