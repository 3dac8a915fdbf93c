"""Which rows a figure shows: the study's roles, with all other settings held constant and named."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.frame import EVALUATION, PRETRAINING, finest, in_domain, self_supervised, usual

UNTRAINED = "random"
_USUAL = {
    "views": "simclr",
    "head_layers": 2,
    "corruption": "none",
    "imbalance": 1.0,
    "subset_draw": "uniform",
}
_WORDS = {"n_labels": "labels", "finetune_epochs": "fine-tuning epochs"}
_FACTS = ("level", "level_index", "train_level", "fused_method", "steps", "n_labels")


def judged(frame: pd.DataFrame, protocol: str | None) -> pd.DataFrame:
    """Rows of the finest level under the usual conditions, finished or not; of one protocol, or of all."""
    return usual(finest(frame), protocol)


def undamaged(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of encoders pretrained on clean images without an added long tail, or not trained."""
    clean = rows["corruption"].isin(["none", ""])
    return rows[clean & (rows["imbalance"].isna() | (rows["imbalance"] == 1))]


def floor(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of linear probes on untrained encoders."""
    return rows[(rows["method"] == UNTRAINED) & (rows["protocol"] == "linear")]


def pretrained(rows: pd.DataFrame, method: str | None = None) -> pd.DataFrame:
    """Rows of encoders that the sweep trained, by one method or by any."""
    trained = rows[~rows["method"].isin([UNTRAINED, "weights"])]
    return trained if method is None else trained[trained["method"] == method]


def own_images(rows: pd.DataFrame, method: str | None) -> pd.DataFrame:
    """Rows of in-domain encoders of ``method``; no rows if that is None."""
    return in_domain(pretrained(rows, method)) if method else rows.iloc[:0]


def main_method(rows: pd.DataFrame) -> str | None:
    """SimCLR if the sweep has it, else the self-supervised method with most rows, else None."""
    present = self_supervised(rows)["method"].value_counts()
    if present.empty:
        return None
    return "simclr" if "simclr" in present else str(present.index[0])


def hold(rows: pd.DataFrame, keys: Collection[str]) -> tuple[pd.DataFrame, str]:
    """Rows that answer one question per group of ``keys``, and a sentence on the settings held fixed.

    A setting that varies inside a group is held, for each method, at its usual value, else at the one with
    most rows, else at the largest. A setting that varies between groups only is kept: fewer epochs on more
    images are no mixture. A missing setting counts as a value: fine-tuning by steps lacks epochs.
    """
    held = []
    by = list(keys)
    for name in (*PRETRAINING, *EVALUATION):
        if name in keys or name in _FACTS or name not in rows or rows[name].nunique(dropna=False) < 2:
            continue
        values = rows[name].astype(object).where(rows[name].notna(), "")
        groups = rows.groupby(by, dropna=False, sort=False).ngroup()
        varies = (values.groupby(groups).transform("nunique") > 1).to_numpy()
        if not varies.any():
            continue
        kept = np.ones(len(rows), dtype=bool)
        for method in rows["method"].unique():
            mine = (rows["method"] == method).to_numpy()
            if varies[mine].any():
                best = _best(name, values[mine])
                kept &= ~mine | (values == best).to_numpy()
                shown = f"{best:g}" if isinstance(best, float) else str(best) or "none"
                held.append(f"{_WORDS.get(name, name.replace('_', ' '))} {shown}")
        rows = rows[kept]
    return rows, f" Held constant: {', '.join(dict.fromkeys(held))}." if held else ""


def _best(name: str, values: pd.Series) -> object:
    counts = values.value_counts()
    usual_value = _USUAL.get(name)
    if usual_value in counts.index:
        return usual_value
    return max(counts[counts == counts.max()].index, key=lambda value: (value != "", value))


def at_most_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows at the largest label budget of each evaluation domain and protocol."""
    largest = rows.groupby(["eval_domain", "protocol"])["n_labels"].transform("max")
    return rows[rows["n_labels"] == largest]


def one_budget(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows at one label budget per evaluation domain, and the words for a caption.

    It is the largest that all encoders of the domain have, or else most of them.
    """
    encoders = (
        rows.groupby(["eval_domain", "n_labels"])["pretrain_domain"].nunique().reset_index(name="encoders")
    )
    encoders = encoders.sort_values(["eval_domain", "encoders", "n_labels"]).groupby("eval_domain").last()
    rows = rows[rows["n_labels"] == rows["eval_domain"].map(encoders["n_labels"])]
    budgets = sorted({int(n) for n in encoders["n_labels"]})
    if len(budgets) == 1:
        return rows, f", {style.count(budgets[0])} labels"
    each = ", ".join(f"{domain} {style.count(n)}" for domain, n in encoders["n_labels"].items())
    return rows, f"; labels: {each}"
