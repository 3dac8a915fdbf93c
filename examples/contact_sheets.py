"""Draw docs/views.png and docs/corruptions.png from the embedded domains, to be looked at.

    python examples/contact_sheets.py            # both into docs/; --size 32 for the demo's images

views.png has one row per view policy, two views of an image of each domain; corruptions.png one row per
corruption. What is drawn is what a training gets, pixel for pixel.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.contact_sheet import contact_sheet, png_bytes
from ssl_sweep.data_ops.dataset.corruptions import NAMES, corrupt, parse_corruption
from ssl_sweep.data_ops.synthetic.domains import DOMAINS, render
from ssl_sweep.data_ops.views.named_policies import POLICIES, named_policy
from ssl_sweep.data_ops.views.policy import ViewPolicy, sample_params
from ssl_sweep.data_ops.views.torch_views import TorchViews

Images = npt.NDArray[np.uint8]  # (n, S, S, 3)
PER_DOMAIN = 2


def views(size: int) -> bytes:
    """One image of each domain, and two views of it under every policy."""
    images = np.concatenate([render(name, [7], seed=1, size=size) for name in DOMAINS])
    rows = {"image": images.repeat(PER_DOMAIN, axis=0)}
    for name in POLICIES:
        policies = named_policy(name, size)
        drawn = [view(images, policies[number % len(policies)], number) for number in range(PER_DOMAIN)]
        rows[name] = np.stack(drawn, axis=1).reshape(-1, size, size, 3)
    columns = [f"{name}\nview {number + 1}" for name in DOMAINS for number in range(PER_DOMAIN)]
    return sheet(rows, columns, f"View policies at {size} px: two views of one image of each domain")


def view(images: Images, policy: ViewPolicy, number: int) -> Images:
    """View `number` of each image in epoch 0, as pixels again."""
    params = sample_params(policy, seed=1, epoch=0, keys=np.arange(len(images), dtype=np.uint64), view=number)
    planes = TorchViews(policy).render(images, params).numpy()  # (x / 255 - 0.5) / 0.25
    return np.clip(np.rint((np.moveaxis(planes, 1, 3) + 2) * (255 / 4)), 0, 255).astype(np.uint8)


def corruptions(size: int) -> bytes:
    """Two images of each domain under every corruption at its usual severity."""
    images = np.concatenate(
        [render(name, np.arange(2, 2 + PER_DOMAIN), seed=1, size=size) for name in DOMAINS]
    )
    keys = np.arange(len(images), dtype=np.uint64)
    rows = {}
    for name in NAMES:
        corruption = parse_corruption(name)
        without = corruption.name != "none" and corruption.changes_nothing(size)
        label = corruption.canonical + (f"\nno effect at {size} px" if without else "")
        rows[label] = corrupt(images, keys, corruption, seed=0)
    columns = [name for name in DOMAINS for _ in range(PER_DOMAIN)]
    return sheet(rows, columns, f"Corruptions of pretraining images at {size} px")


def sheet(rows: dict[str, Images], columns: list[str], title: str) -> bytes:
    """The PNG of labelled rows."""
    return png_bytes(contact_sheet([list(row) for row in rows.values()], list(rows), columns, title=title))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels (96)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs", help="folder (docs)")
    options = parser.parse_args()
    for name, draw in (("views.png", views), ("corruptions.png", corruptions)):
        (options.out / name).write_bytes(draw(options.size))
        print(options.out / name)


if __name__ == "__main__":
    main()
