"""A plain supervised training, without one import from this project: what a rival of a pretraining reaches.

    python benchmarks/plain_supervised.py DATA/plankton --labels 2000 --steps 600 --seeds 0 1 2

DATA/plankton holds train.parquet and test.parquet: a column `image` with encoded bytes, and a column `label`.
A narrow ResNet (stride-2 stem, one basic block a stage, 16 to 128 channels), SGD with Nesterov momentum at
rate 0.1, decay 5e-4, half a cosine, batch 64; views are a 4-pixel padded crop and a flip. The labels are a
random draw by seed; the test images are read once, at the end.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


def read(path: Path, size: int, column: str) -> tuple[Tensor, Tensor]:
    """Images (n, 3, size, size) in [-2, 2], the centred square of each, and labels (n,)."""
    table = pq.read_table(path, columns=["image", column])
    images = np.empty((len(table), size, size, 3), dtype=np.uint8)
    for row, value in enumerate(table["image"].to_pylist()):
        image = Image.open(io.BytesIO(value["bytes"])).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        square = (left, top, left + side, top + side)
        images[row] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=square))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return (pixels / 255 - 0.5) / 0.25, torch.tensor(table[column].to_numpy(), dtype=torch.long)


class Net(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        parts = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        before = 16
        for width, stride in ((16, 2), (32, 1), (64, 2), (128, 2)):
            shortcut = None
            if stride != 1 or before != width:
                conv = nn.Conv2d(before, width, 1, stride, bias=False)
                shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))
            parts.append(BasicBlock(before, width, stride, shortcut))
            before = width
        self.body, self.classifier = nn.Sequential(*parts), nn.Linear(128, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images).mean((2, 3)))


def augmented(images: Tensor, padding: str) -> Tensor:
    """Each image padded by 4 pixels, cropped at random, and flipped in half of the cases."""
    n, _, size, _ = images.shape
    padded = F.pad(images, (4, 4, 4, 4), mode=padding)
    rows = torch.randint(0, 9, (n, 1, 1)) + torch.arange(size)[None, :, None]
    columns = torch.randint(0, 9, (n, 1, 1)) + torch.arange(size)[None, None, :]
    crops = padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows, columns].permute(0, 3, 1, 2)
    return torch.where(torch.rand(n, 1, 1, 1) < 0.5, crops.flip(3), crops).contiguous()


def train(images: Tensor, labels: Tensor, classes: int, args: argparse.Namespace) -> nn.Module:
    net = Net(classes).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=args.rate, momentum=0.9, nesterov=True, weight_decay=args.decay
    )
    order = torch.empty(0, dtype=torch.long)
    for step in range(args.steps):
        if len(order) < args.batch:
            order = torch.randperm(len(images))
        rows, order = order[: args.batch], order[args.batch :]
        for group in optimizer.param_groups:
            group["lr"] = args.rate * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        views = augmented(images[rows], args.padding).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(net(views), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--column", default="label")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--labels", type=int, default=0, help="0: all")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--padding", choices=["constant", "reflect"], default="constant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    images, labels = read(args.data / "train.parquet", args.size, args.column)
    test_images, test_labels = read(args.data / "test.parquet", args.size, args.column)
    classes = int(labels.max()) + 1
    found = []
    for seed in args.seeds:
        torch.manual_seed(seed)
        began = time.perf_counter()
        rows = torch.randperm(len(images))[: args.labels or len(images)]
        net = train(images[rows], labels[rows], classes, args)
        with torch.inference_mode():
            hits = sum(
                int((net(part).argmax(1) == truth).sum())
                for part, truth in zip(test_images.split(512), test_labels.split(512), strict=True)
            )
        found.append(100 * hits / len(test_labels))
        epochs = args.steps * args.batch / len(rows)
        seconds = time.perf_counter() - began
        print(f"seed {seed}: {found[-1]:.1f} % top-1, {epochs:.1f} epochs, {seconds:.0f} s", flush=True)
    print(f"mean {np.mean(found):.1f} %, standard deviation {np.std(found, ddof=len(found) > 1):.1f}")


if __name__ == "__main__":
    main()
