"""The figure of predicted against actual training time."""

from __future__ import annotations

import pytest
from results_frame import Table

from ssl_sweep.sweep.report.figures import predicted


def test_it_shows_every_training_once_and_counts_those_within() -> None:
    table = Table(n_test=100)
    for images, asked, took in ((500, 100.0, 110.0), (1000, 200.0, 300.0), (2000, 10.0, 30.0)):
        for labels in (100, 1000):
            times = {"predicted_seconds": asked, "train_seconds": took, "predicted_from": "calibrated"}
            table.add(0.3, images=images, n_labels=labels, seeds=(0,), **times)
    (figure,) = predicted.draw(table.frame())
    assert sorted(figure.data["ratio"]) == pytest.approx([1.1, 1.5, 3.0])  # type: ignore[union-attr]
    assert "Calibrated rates, trainings of a minute or more: 1 of 2 within the band, ratio 1.10 to 1.50" in (
        figure.caption  # type: ignore[union-attr]
    )
    assert figure.draw(8.0).axes[0].get_xscale() == "log"  # type: ignore[union-attr]


def test_older_tables_have_none() -> None:
    assert predicted.draw(Table(n_test=100).add(0.3, images=500, train_seconds=100.0).frame()) == []
