"""A sweep that asks every question of the study, with effects like the published ones."""

from __future__ import annotations

import math

from results_frame import Table

HOSTILE = "<script>document.title='run'</script> & \"co\""
"""A name that means harm."""
DOMAINS = ("objects", "plankton", "scenes")
SIZES = (500, 1000, 2000, 4000, 8000)
BUDGETS = (100, 300, 1000, 3000, 8000)
_LEVELS = {
    "objects": (("label", 100), ("label_group", 20), ("label_super", 8), ("label_kingdom", 2)),
    "plankton": (("label", 40), ("label_group", 9)),
    "scenes": (("label", 30), ("label_super", 6)),
}
_BASE = {"objects": 0.26, "plankton": 0.44, "scenes": 0.38}


def probe(domain: str, images: float, labels: float) -> float:
    """Linear probe of an in-domain SimCLR encoder."""
    return _BASE[domain] + 0.07 * math.log10(labels / 1000) + 0.55 * (0.3 - images**-0.2)


def alone(domain: str, labels: float) -> float:
    """Trained from scratch."""
    return max(0.02, _BASE[domain] + 0.02 + 0.24 * math.log10(labels / 3000))


def study(n_test: int = 400, domains: tuple[str, ...] = DOMAINS, sizes: tuple[int, ...] = SIZES) -> Table:
    """Every lens; scenes pretrained on 4k or more images are not finished at some budgets, nor is their
    JPEG."""
    table = Table(n_test=n_test)
    for domain in domains:
        _quantity(table, domain, sizes)
        _other(table, domain, sizes)
    _crossed(table, domains)
    if "objects" in domains:
        _simclr(table)
    return table


def _quantity(table: Table, domain: str, sizes: tuple[int, ...]) -> None:
    here = {"eval_domain": domain, "levels": _LEVELS[domain]}
    own = {**here, "pretrain_domain": domain}
    for labels in BUDGETS:
        table.add(
            0.6 * _BASE[domain] + 0.03 * math.log10(labels / 1000), method="random", n_labels=labels, **here
        )
        table.add(
            alone(domain, labels),
            method="random",
            protocol="fine-tune",
            n_labels=labels,
            coarser=0.11,
            **here,
        )
        for images in sizes:
            waits = domain == "scenes" and images >= 4000 and labels in (1000, 3000)
            facts = {
                "status": "waiting" if waits else "complete",
                "train_seconds": images * 0.3,
                "train_gpu": False,
            }
            top1 = probe(domain, images, labels)
            rank = 20 + 60 * top1
            table.add(top1, n_labels=labels, images=images, rankme=rank, **facts, **own)
            tuned = max(top1 - 0.01, alone(domain, labels)) + 0.01
            table.add(tuned, n_labels=labels, images=images, protocol="fine-tune", **facts, **own)


def _other(table: Table, domain: str, sizes: tuple[int, ...]) -> None:
    own = {
        "eval_domain": domain,
        "pretrain_domain": domain,
        "levels": _LEVELS[domain],
        "n_labels": 8000,
        "images": 8000,
    }
    best = probe(domain, 8000, 8000)
    for i, (method, less) in enumerate({"moco-v2": 0.005, "byol": -0.02, "supervised": -0.09}.items()):
        for labels in BUDGETS:
            top1 = probe(domain, 8000, labels) - less
            timed = {"train_seconds": 2000.0 + 500 * i, "rankme": 25 + 60 * top1}
            table.add(top1, method=method, **{**own, "n_labels": labels}, **timed, coarser=0.12)
    for labels in BUDGETS:
        top1 = probe(domain, 8000, labels) - 0.06
        table.add(top1, method="rotation", **{**own, "n_labels": labels}, train_seconds=900.0)
        table.add(top1 + 0.03, method="rotation", protocol="fine-tune", **{**own, "n_labels": labels})
    drops = {
        "downsample-4x": 0.15,
        "downsample-2x": 0.08,
        "jpeg": 0.03,
        "salt-and-pepper": 0.02,
        "resize": 0.005,
    }
    for corruption, drop in drops.items():
        waits = "waiting" if (domain, corruption) == ("scenes", "jpeg") else "complete"
        table.add(best - drop, corruption=corruption, status=waits, **own)
        table.add(best + 0.09 - drop / 3, corruption=corruption, method="supervised", **own)
    for imbalance in (10.0, 100.0):
        table.add(best - 0.01 * math.log10(imbalance), imbalance=imbalance, **own)
        table.add(best + 0.09 - 0.04 * math.log10(imbalance), imbalance=imbalance, method="supervised", **own)
    for images in sizes[:-1]:
        top1 = probe(domain, images, 8000) + 0.09 - 0.08 * math.log10(8000 / images)
        table.add(top1, method="supervised", **{**own, "images": images})


def _crossed(table: Table, domains: tuple[str, ...]) -> None:
    for source in domains:
        for domain in domains:
            if source != domain:
                crossed = {"pretrain_domain": source, "eval_domain": domain, "n_labels": 8000, "images": 8000}
                far = 0.1 if "plankton" in (source, domain) else 0.05
                table.add(probe(domain, 8000, 8000) - far, **crossed)
                table.add(probe(domain, 8000, 8000) + 0.06 - 1.5 * far, method="supervised", **crossed)
                pool = {**crossed, "pretrain_domain": "+".join(sorted((source, domain)))}
                table.add(probe(domain, 8000, 8000) - 0.04, **pool)
                other = f"simclr · {source} · 8000 · none · seed 0"
                fused = {"fused_with": other, "fused_domain": source, "fused_method": "simclr"}
                own = {**crossed, "pretrain_domain": domain}
                table.add(probe(domain, 8000, 8000) + 0.005, **own, **fused)
        own = {"pretrain_domain": source, "eval_domain": source, "n_labels": 8000, "images": 8000}
        control = {
            "fused_with": f"simclr · {source} · 8000 · none · seed 1",
            "fused_domain": source,
            "fused_method": "simclr",
        }
        table.add(probe(source, 8000, 8000) + 0.008, **own, **control)


def _simclr(table: Table) -> None:
    own = {
        "eval_domain": "objects",
        "pretrain_domain": "objects",
        "n_labels": 8000,
        "images": 8000,
        "levels": _LEVELS["objects"],
    }
    best = probe("objects", 8000, 8000)
    for views, less in {"crop": 0.12, "colour": 0.17, "crop-blur": 0.1, "colour-blur": 0.15}.items():
        table.add(best - less, views=views, **own)
    table.add(best - 0.1, head_layers=0, **own)
    table.add(best - 0.02, head_layers=1, **own)
    for layers, top1 in ((1, best - 0.09), (2, best - 0.12)):
        table.add(top1, head_layers=layers, representation="g(h)", **own)
    for batch, loss in ((64, 0.05), (128, 0.02), (256, 0.0)):
        for epochs in (15, 30, 60, 120):
            if (batch, epochs) != (256, 60):
                top1 = best - loss * 60 / epochs + 0.03 * math.log2(epochs / 60)
                table.add(top1, batch=batch, epochs=epochs, train_seconds=2400.0 * epochs / 60, **own)
