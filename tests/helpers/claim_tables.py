"""Tables for every claim: where it is true by an effect, contrary by a negative one, and absent by none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from results_frame import Table

from ssl_sweep.sweep.report.claims import CLAIMS
from ssl_sweep.sweep.report.claims.finding import Finding
from ssl_sweep.sweep.report.findings import findings

Seeds = tuple[int, ...]
Builder = Callable[[Table, float, Seeds], object]
FINE = {"protocol": "fine-tune"}


def _sizes(t: Table, s: Seeds, top1: Mapping[int, float], **columns: object) -> None:
    for images, value in top1.items():
        t.add(value, images=images, seeds=s, **columns)


def _two(column: str, low: object, high: object, **columns: object) -> Builder:
    """The answer with `high` is better by the effect."""

    def build(t: Table, e: float, s: Seeds) -> None:
        t.add(0.5, seeds=s, **{**columns, column: low})
        t.add(0.5 + e, seeds=s, **{**columns, column: high})

    return build


def _tuned(t: Table, e: float, s: Seeds) -> None:
    for labels in (100, 1000):
        t.add(0.4 + e, n_labels=labels, seeds=s, **FINE)
        t.add(0.4, n_labels=labels, method="random", seeds=s, **FINE)


def _crossing(method: str) -> Builder:
    def build(t: Table, e: float, s: Seeds) -> None:
        for labels, probe, lead in ((100, 0.4, -e), (4000, 0.5, e)):
            t.add(probe, method=method, n_labels=labels, seeds=s)
            t.add(probe + lead, method="random", n_labels=labels, seeds=s, **FINE)

    return build


def _rotation(t: Table, e: float, s: Seeds) -> None:
    for labels in (100, 1000):
        t.add(0.4 + e, n_labels=labels, method="rotation", seeds=s)
        t.add(0.4, n_labels=labels, method="random", seeds=s, **FINE)


def _fused(t: Table, e: float, s: Seeds) -> None:
    t.add(0.5, seeds=s)
    for seed in s:
        other = {"fused_with": f"simclr · land · 4000 · none · seed {seed}", "fused_domain": "land"}
        t.add(0.5 + e, seeds=(seed,), fused_method="simclr", **other)


def _fused_control(t: Table, e: float, s: Seeds) -> None:
    _fused(t, e, s)
    for seed in s:
        other = {"fused_with": f"simclr · scenes · 4000 · none · seed {seed + 1}", "fused_domain": "scenes"}
        t.add(0.5, seeds=(seed,), fused_method="simclr", **other)


def _damaged(damage: str) -> Builder:
    def build(t: Table, e: float, s: Seeds) -> None:
        for method, cost in (("simclr", 0.1 + e), ("supervised", 0.1)):
            t.add(0.6, method=method, seeds=s)
            t.add(0.6 - cost, method=method, corruption=damage, seeds=s)

    return build


def _order(t: Table, e: float, s: Seeds) -> None:
    t.add(0.6, seeds=s)
    for i, damage in enumerate(("downsample-4x", "downsample-2x", "jpeg-10", "salt-and-pepper-0.01")):
        t.add(0.4 + i * e, corruption=damage, seeds=s)


def _levels(t: Table, e: float, s: Seeds) -> None:
    t.add(0.5, seeds=s, coarser=0.2)
    t.add(0.5 + e, method="random", seeds=s, coarser=0.2 - e, **FINE)


def _domain_gap(t: Table, e: float, s: Seeds) -> None:
    for method, foreign in (("simclr", 0.5 + e), ("supervised", 0.5)):
        t.add(0.6, method=method, pretrain_domain="land", eval_domain="land", seeds=s)
        t.add(foreign, method=method, pretrain_domain="land", eval_domain="scenes", seeds=s)


def _scarce(t: Table, e: float, s: Seeds) -> None:
    _sizes(t, s, {1000: 0.4 + e, 4000: 0.5}, pretrain_domain="land")
    _sizes(t, s, {1000: 0.4, 4000: 0.5}, pretrain_domain="land", method="supervised")


def _tail(t: Table, e: float, s: Seeds) -> None:
    for method, tailed in (("simclr", 0.5 + e), ("supervised", 0.5)):
        t.add(0.6, method=method, seeds=s).add(tailed, method=method, imbalance=50.0, seeds=s)


def _composition(t: Table, e: float, s: Seeds) -> None:
    t.add(0.5 + e, views="simclr", seeds=s)
    t.add(0.5, views="crop", strength=0.0, seeds=s).add(0.5, views="colour", seeds=s)


ABOVE: dict[str, Builder] = {
    "quantity.pays": lambda t, e, s: t.add(0.4 + e, seeds=s).add(0.4, method="random", seeds=s),
    "quantity.first-doublings": lambda t, e, s: _sizes(t, s, {1000: 0.4, 2000: 0.4 + e, 4000: 0.4 + e}),
    "quantity.diminishing": lambda t, e, s: _sizes(t, s, {1000: 0.4, 2000: 0.45 + e, 4000: 0.5 + e}),
    "quantity.few-labels": _tuned,
    "quantity.crossover": _crossing("simclr"),
    "domain.in-domain-best": _two("pretrain_domain", "land", "scenes"),
    "domain.pooled": _two("pretrain_domain", "land+scenes", "scenes"),
    "quality.costs": _two("corruption", "jpeg-10", "none"),
    "quality.downsampling": _damaged("downsample-2x"),
    "quality.order": _order,
    "granularity.gap-grows": _levels,
    "pretext.rotation-few-labels": _rotation,
    "pretext.rotation-crossover": _crossing("rotation"),
    "pretext.contrastive-ahead": _two("method", "rotation", "simclr"),
    "pretext.byol-ahead": _two("method", "simclr", "byol"),
    "transfer.ahead": _two("method", "supervised", "simclr", pretrain_domain="land"),
    "transfer.domain-gap": _domain_gap,
    "transfer.scarce-source": _scarce,
    "imbalance.less-hurt": _tail,
    "simclr.composition": _composition,
    "simclr.non-linear-head": _two("head_layers", 1, 2),
    "simclr.any-head": _two("head_layers", 0, 1),
    "simclr.before-the-head": _two("representation", "g(h)", "h"),
    "simclr.batch": _two("batch", 128, 256),
    "simclr.epochs": _two("epochs", 20, 60),
}
"""Claims that something is better: the effect is by how much."""
SAME: dict[str, Builder] = {
    "quantity.saturates": _two("images", 2000, 4000),
    "quantity.many-labels": _tuned,
    "domain.fusion": _fused,
    "domain.fusion-control": _fused_control,
    "quality.jpeg": _damaged("jpeg-10"),
    "pretext.moco-equal": _two("method", "simclr", "moco-v2"),
}
"""Claims that there is no difference."""
ALL = {**ABOVE, **SAME}
BEYOND = ("quantity.crossover", "pretext.rotation-crossover")
"""Claims of a crossing: it can lie beyond the label budgets of a table, so nothing refutes them."""


def judged(table: Table, claim: str) -> list[Finding]:
    return findings(table.frame(), [one for one in CLAIMS if one.id == claim])


def full() -> Table:
    table = Table(n_test=100)
    for build in ALL.values():
        build(table, 0.05, (0, 1, 2))
    return table
