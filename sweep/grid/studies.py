"""``ssl-sweep init``: grids of whole studies, which ship with the program."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ssl_sweep.sweep.errors import UsageError, did_you_mean
from ssl_sweep.sweep.util.files import whole

STUDIES = (
    "quantity",
    "domain",
    "quality",
    "granularity",
    "simclr",
    "pretext",
    "imbalance",
    "paper",
    "four-domains",
)


def preset(study: str) -> str:
    """The commented grid of a study. Raises UsageError, with the nearest name, for an unknown study."""
    study = study.replace("_", "-")
    if study not in STUDIES:
        raise UsageError(f"no study {study!r}{did_you_mean(study, STUDIES)}")
    return files("ssl_sweep.sweep.grid").joinpath("presets", f"{study}.yaml").read_text(encoding="utf-8")


def question(study: str) -> str:
    """The question that a study asks: the first line of its grid."""
    return preset(study).partition("\n")[0].removeprefix("# ")


def write_preset(study: str, output: Path, *, force: bool = False) -> Path:
    """Write the grid of a study to ``output``, completely or not at all.

    Raises:
        UsageError: the study is unknown, or the file exists without ``force`` or cannot be written.
    """
    text = preset(study)
    if output.exists() and not force:
        raise UsageError(f"{output} exists already", hint="choose another -o, or overwrite it with --force")
    try:
        with whole(output) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror or error}") from error
    return output
