"""How far the back ends are from torchvision's definitions, operator by operator, on the same parameters.

The reference is torchvision v2's functional form on float images, which rounds nowhere. Differences are in
grey levels (0 to 255) over smooth noisy images, pure noise and flat ones. Prints the markdown of
docs/parity.md: python benchmarks/parity.py > docs/parity.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms.v2.functional as F

from ssl_sweep.data_ops.views.backend import ViewBackend, choose_views
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ORDERS, ViewParams, ViewPolicy, sample_params

ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
SOLARIZE = "folds at 127.5, not 128: the same on whole levels, and continuous"
STILL: dict[str, Any] = {
    "scale": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "flip": 0.0,
    "jitter": 0.0,
    "grayscale": 0.0,
    "blur": 0.0,
}
NO_JITTER = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
AFFINE_HUE = "affine: hue turns about the grey axis, not in HSV"
AFFINE = f"{AFFINE_HUE}, and nothing is clipped between steps"

# Operator, what it changes of a policy that does nothing, why the difference is not 0.
OPERATORS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("crop + resize", {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}, ""),
    ("flip", {"flip": 1.0}, ""),
    ("brightness ±0.8", {**NO_JITTER, "jitter": 1.0, "brightness": 0.8}, ""),
    ("contrast ±0.8", {**NO_JITTER, "jitter": 1.0, "contrast": 0.8}, ""),
    ("saturation ±0.8", {**NO_JITTER, "jitter": 1.0, "saturation": 0.8}, ""),
    ("hue ±0.2", {**NO_JITTER, "jitter": 1.0, "hue": 0.2}, AFFINE_HUE),
    ("grayscale", {"grayscale": 1.0}, ""),
    ("blur", {"blur": 1.0}, ""),
    ("solarise", {"solarize": 1.0}, SOLARIZE),
    ("colour jitter, s = 1", {"jitter": 1.0}, AFFINE),
)


def pictures(n: int, size: int) -> npt.NDArray[np.uint8]:
    """Smooth colourful images with noise; every tenth is pure noise, the first is black, the second white."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(-40, 295, (n, 3, 6, 6)))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").permute(0, 2, 3, 1).numpy()
    images = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    images[9::10] = rng.integers(0, 256, images[9::10].shape)
    images[0], images[1] = 0, 255
    return images


def torchvision_view(image: npt.NDArray[np.uint8], p: ViewParams, policy: ViewPolicy) -> torch.Tensor:
    """One view, float32 (3, S, S) in grey levels; p has length 1."""
    x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    box = [int(v[0]) for v in (p.top, p.left, p.height, p.width)]
    x = F.resized_crop(x, *box, [policy.size, policy.size], antialias=True)
    x = F.hflip(x) if p.flip[0] else x
    if p.jitter[0]:
        for operation in ORDERS[p.order[0]]:
            x = ADJUST[operation](x, float(p.factors[0, operation]))
    x = F.rgb_to_grayscale(x, 3) if p.grayscale[0] else x
    if p.blur[0]:
        x = F.gaussian_blur(x, [policy.blur_kernel] * 2, [float(p.sigma[0])] * 2)
    return (F.solarize(x, 128 / 255) if p.solarize[0] else x) * 255


def differences(policy: ViewPolicy, images: npt.NDArray[np.uint8], dali: bool) -> list[str]:
    """ "mean / max" of each back end for one policy; both modes of torch, and DALI's CPU device."""
    n, stored = len(images), images.shape[1]
    p = sample_params(policy, 0, 0, np.arange(n, dtype=np.uint64), 0, shape=(stored, stored))
    theirs = torch.stack([torchvision_view(images[i], p.take(slice(i, i + 1)), policy) for i in range(n)])
    affine = replace(policy, mode="affine")
    contenders: list[ViewBackend] = [choose_views(each, "torch", n, cuda=False) for each in (policy, affine)]
    if dali:
        contenders.append(choose_views(policy, "dali", n, cuda=False))
    cells = []
    for views in contenders:
        difference = ((views.render(images, p) * 0.25 + 0.5) * 255 - theirs).abs()
        views.close()
        cells.append(f"{difference.mean():.1e} / {difference.max():.1e}")
    return cells


def table(size: int, stored: int, n: int, dali: bool) -> str:
    images = pictures(n, stored)
    (full,) = named_policy("simclr-imagenet", size)
    still = replace(full, **STILL)
    rows = [(name, replace(still, **change), why) for name, change, why in OPERATORS]
    rows.append(("whole view, simclr-imagenet", full, AFFINE))
    rows.append(("whole view, byol's second", named_policy("byol", size)[1], f"{AFFINE}; {SOLARIZE}"))
    lines = ["| operator | torch exact | torch affine | DALI CPU exact | above rounding because |"]
    lines.append("|---|---|---|---|---|")
    for name, policy, why in rows:
        cells = differences(policy, images, dali) + ([] if dali else ["–"])
        lines.append(f"| {name} | {' | '.join(cells)} | {why} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=60, help="images of each measurement (60)")
    parser.add_argument("--no-dali", action="store_true", help="leave DALI's CPU device out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    packages = ["torch", "torchvision", *([] if options.no_dali else ["nvidia-dali-cuda130"])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"""# Parity with torchvision

Written by `python benchmarks/parity.py` ({versions}). Grey
levels (0 to 255), **mean / maximum** absolute difference from torchvision v2's functional operators on float
images, the same parameters on both sides; {options.images} images a row: smooth with noise, pure noise, black
and white. Differences of 1e-3 and less are float32 rounding: torchvision works in 0 to 1, the back ends in
grey levels. Mode `affine` is another, cheaper augmentation; its column says how different.""")
    for size, stored in ((32, 32), (96, 96), (224, 256)):
        kept = f"images stored at {stored} pixels, views of {size}"
        print(f"\n## {kept}\n\n{table(size, stored, options.images, not options.no_dali)}")
    print("""
DALI on a GPU runs the same graph with the same parameters; the tests check that its definition is legal
there. Decoding is Pillow's for every back end, once, when a dataset is prepared.""")


if __name__ == "__main__":
    main()
