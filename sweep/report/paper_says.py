"""What the source of each claim found: differences of its printed or measured numbers, with the evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ssl_sweep.sweep.report.paper import PaperNumber, PaperNumbers, paper_numbers

_M = 1_000_000


@dataclass(frozen=True)
class _Difference:
    """`first` - `second` of a figure, where `both` hold; a number alone without `second`."""

    what: str
    figure: str
    first: Mapping[str, object]
    second: Mapping[str, object] | None = None
    both: Mapping[str, object] = field(default_factory=dict)

    def text(self, paper: PaperNumbers) -> str:
        numbers = [
            paper.number(self.figure, **self.both, **where)
            for where in (self.first, self.second)
            if where is not None
        ]
        known = [number for number in numbers if number is not None]
        if len(known) != len(numbers):
            raise KeyError(f"{self.figure} has no one number {self}")
        value = known[0].value - (known[1].value if len(known) > 1 else 0.0)
        points = f"{100 * value:+.1f}".replace("-", "−")
        return f"{self.what} {points} points ({_evidence(known)})"


def _evidence(numbers: list[PaperNumber]) -> str:
    tags = {number.evidence for number in numbers}
    tag = next(tag for tag in ("SECONDARY", "READ", "DIGITISED", "EXACT") if tag in tags)
    error = math.sqrt(sum(number.error**2 for number in numbers if number.error > 0))
    return f"{tag}, ± {100 * error:.1f}" if error else tag


_IMAGENET = {"eval": "ImageNet"}
_SAYS: Mapping[str, tuple[_Difference, ...]] = {
    "fig2-linear:first": (
        _Difference(
            "ImageNet, 50k → 250k images:",
            "fig2-linear",
            {"images": 250_000},
            {"images": 50_000},
            {**_IMAGENET, "labels": _M},
        ),
    ),
    "fig2-linear:last": (
        _Difference(
            "ImageNet, 500k → 1M images:",
            "fig2-linear",
            {"images": _M},
            {"images": 500_000},
            {**_IMAGENET, "labels": _M},
        ),
    ),
    "fig2-linear:crossover": tuple(
        _Difference(
            f"ImageNet, {text} labels: from scratch minus linear",
            "fig2-linear",
            {"method": "from scratch"},
            {"images": _M},
            {**_IMAGENET, "labels": labels},
        )
        for text, labels in (("10k", 10_000), ("1M", _M))
    ),
    "fig2-fine-tune:few": (
        _Difference(
            "ImageNet, 10k labels:",
            "fig2-fine-tune",
            {"images": _M},
            {"method": "from scratch"},
            {**_IMAGENET, "labels": 10_000},
        ),
    ),
    "fig2-fine-tune:many": (
        _Difference(
            "ImageNet, 1M labels:",
            "fig2-fine-tune",
            {"images": _M},
            {"method": "from scratch"},
            {**_IMAGENET, "labels": _M},
        ),
    ),
    "table1": tuple(
        _Difference(
            f"{own}, against {other}:", "table1", {"pretraining": own}, {"pretraining": other}, {"eval": own}
        )
        for own, other in (
            ("iNat21", "ImageNet"),
            ("ImageNet", "iNat21"),
            ("Places365", "ImageNet"),
            ("GLC20", "ImageNet"),
        )
    ),
    "table2": (
        _Difference(
            "ImageNet, 500k own against 250k own with 250k of Places365:",
            "table2",
            {"pretraining": "ImageNet"},
            {"pretraining": "ImageNet+Places365"},
            {**_IMAGENET, "images": 500_000},
        ),
    ),
    "table3-gain": tuple(
        _Difference(f"{own} with {other}:", "table3-gain", {"eval": own, "method": "simclr"})
        for own, other in (("ImageNet", "iNat21"), ("iNat21", "ImageNet"))
    ),
    "fig4:downsampling": tuple(
        _Difference(
            f"ImageNet, {damage} costs SimCLR more by",
            "fig4-drop",
            {"method": "simclr"},
            {"method": "supervised"},
            {"corruption": damage},
        )
        for damage in ("downsample-2x", "downsample-4x")
    ),
    "fig4:jpeg": (
        _Difference(
            "ImageNet, JPEG costs SimCLR more by",
            "fig4-drop",
            {"method": "simclr"},
            {"method": "supervised"},
            {"corruption": "jpeg"},
        ),
    ),
    "fig4:order": tuple(
        _Difference(f"{damage} costs SimCLR", "fig4-drop", {"method": "simclr", "corruption": damage})
        for damage in ("downsample-4x", "downsample-2x", "jpeg", "salt-and-pepper", "resize")
    ),
    "fig5": tuple(
        _Difference(
            f"iNat21, gap at {level}:",
            "fig5",
            {"method": "from scratch"},
            {"method": "simclr"},
            {"eval": "iNat21", "level": level},
        )
        for level in ("kingdom", "order", "species")
    ),
    "rotnet:few": (
        _Difference(
            "CIFAR-10, 200 labels:",
            "rotnet",
            {"method": "rotation"},
            {"method": "from scratch"},
            {"labels": 200},
        ),
    ),
    "rotnet:crossover": tuple(
        _Difference(
            f"CIFAR-10, {labels:,} labels: from scratch minus rotation",
            "rotnet",
            {"method": "from scratch"},
            {"method": "rotation"},
            {"labels": labels},
        )
        for labels in (200, 10_000, 50_000)
    ),
    "fig3:byol": (
        _Difference("iNat21, 1M labels:", "fig3", {"method": "byol"}, {"method": "simclr"}, {"labels": _M}),
    ),
    "fig3:moco": (
        _Difference(
            "iNat21, 1M labels:", "fig3", {"method": "moco-v2"}, {"method": "simclr"}, {"labels": _M}
        ),
    ),
    "simclr-head:linear": (
        _Difference("ImageNet: about", "simclr-head", {"method": "non-linear over linear"}),
    ),
    "simclr-head:none": (
        _Difference(
            "ImageNet, non-linear over none: more than", "simclr-head", {"method": "non-linear over none"}
        ),
    ),
    "simclr-batch-epochs:batch": (
        _Difference(
            "ImageNet, 100 epochs, batch 256 → 4,096:",
            "simclr-batch-epochs",
            {"batch": 4096},
            {"batch": 256},
            {"epochs": 100, "level": "linear rate"},
        ),
    ),
    "simclr-batch-epochs:epochs": (
        _Difference(
            "ImageNet, batch 4,096, 100 → 800 epochs:",
            "simclr-batch-epochs",
            {"epochs": 800},
            {"epochs": 100},
            {"batch": 4096, "level": "sqrt rate"},
        ),
    ),
}


def paper_says(key: str, paper: PaperNumbers | None = None) -> str:
    """The source's numbers behind a claim's `paper_key`; "" where it has none that could be read."""
    numbers = paper or paper_numbers()
    return "; ".join(one.text(numbers) for one in _SAYS.get(key, ()))


KEYS = tuple(_SAYS)
"""The keys there are numbers for."""
