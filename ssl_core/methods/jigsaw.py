"""Jigsaw puzzles (Noroozi & Favaro 2016): which permutation of the nine tiles of the image is this?"""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.distributed import own_share
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods.base import Method, StepOutput

PERMUTATIONS = 100
GRID = 3
TILES = GRID * GRID
SMALLEST_TILE = 16
"""Side in pixels. Smaller tiles are enlarged to it; else an encoder's strides would leave nothing of them."""
GRAY = 0.3
_TILE_DIM, _HIDDEN = 512, 4096  # largest widths of the layers after the trunk, the paper's
_FLAT = 1e-2  # added to a tile's deviation, in units of the input: noise of a flat tile is not amplified


class Jigsaw(Method):
    """Shared encoder per tile, one layer per tile, one over all nine, and the permutation's classifier.

    From the paper: a 3x3 grid, in each cell a tile of 3/4 of its side at a random place, so that edges do
    not match; each tile normalised by its own mean and deviation per channel; 30 % of the images grey;
    permutations far apart in Hamming distance. What differs: the encoder replaces AlexNet's trunk, and the
    layers after it are in proportion to its features (512 and 4096 at most); there are 100 permutations as
    in the paper's smaller set, not 1000; the view is a random crop with flip, not a centre crop; the colour
    shift per channel is omitted, since the normalisation of each tile would undo it. An encoder for one
    size only (a ViT) gets tiles enlarged to the whole image, at nine times the cost.
    """

    n_views = 1
    permutations: Tensor

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        width = self.encoder.feature_dim
        tile_dim, hidden = min(_TILE_DIM, width), min(_HIDDEN, 8 * width)
        self.tile_head = nn.Sequential(nn.Linear(width, tile_dim), nn.ReLU())
        self.head = nn.Sequential(
            nn.Linear(TILES * tile_dim, hidden), nn.ReLU(), nn.Linear(hidden, PERMUTATIONS)
        )
        self.tile_size = max(tile_side(config.image_size), SMALLEST_TILE)
        if self.encoder.fixed_size:
            self.tile_size = config.image_size
        permutations = torch.from_numpy(distant_permutations(PERMUTATIONS).astype(np.int64))
        self.register_buffer("permutations", permutations, persistent=False)

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """Mean cross entropy over n puzzles; ``features`` (9n, feature_dim) are those of the tiles."""
        images = views[0]
        n, device = len(images), images.device
        gray = (own_share(n, torch.rand) < GRAY).to(device)
        targets = own_share(n, lambda rows: torch.randint(PERMUTATIONS, (rows,))).to(device)
        images = torch.where(gray.view(-1, 1, 1, 1), images.mean(1, keepdim=True), images)
        tiles = normalised(cut_tiles(images)).flatten(0, 1)
        if tiles.shape[-1] != self.tile_size:
            tiles = F.interpolate(tiles, (self.tile_size,) * 2, mode="bilinear", align_corners=False)
        features = self.encoder(tiles.contiguous(memory_format=torch.channels_last))
        # the trunk is shared, so shuffling its features is shuffling the tiles
        order = self.permutations[targets]
        shuffled = self.tile_head(features).view(n, TILES, -1)[torch.arange(n, device=device)[:, None], order]
        return StepOutput(F.cross_entropy(self.head(shuffled.flatten(1)).float(), targets), features)


def tile_side(image_size: int) -> int:
    """Side of a tile in pixels: 64 of the 85 px of a cell in the paper, and the same share at other sizes."""
    return round(image_size // GRID * 64 / 85)


def cut_tiles(images: Tensor) -> Tensor:
    """(n, c, S, S) to tiles (n, 9, c, t, t), row by row, each at a random place within its cell."""
    n, _, size, _ = images.shape
    cell, side = size // GRID, tile_side(size)
    corners = own_share(n, lambda rows: torch.randint(cell - side + 1, (rows, TILES, 2))).to(images.device)
    tile = torch.arange(TILES, device=images.device)
    pixel = torch.arange(side, device=images.device)
    rows = (corners[..., 0] + tile // GRID * cell)[..., None] + pixel  # (n, 9, t)
    columns = (corners[..., 1] + tile % GRID * cell)[..., None] + pixel
    image = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    by_pixel = images.permute(0, 2, 3, 1)  # (n, S, S, c)
    return by_pixel[image, rows[..., :, None], columns[..., None, :]].permute(0, 1, 4, 2, 3)


def normalised(tiles: Tensor) -> Tensor:
    """Tiles (..., c, t, t) with mean 0 and deviation 1 per channel, so that brightness tells nothing."""
    deviation, mean = torch.std_mean(tiles, dim=(-2, -1), correction=0, keepdim=True)
    return (tiles - mean) / (deviation + _FLAT)


@cache
def distant_permutations(count: int) -> npt.NDArray[np.uint8]:
    """Permutations (count, 9) far apart in Hamming distance (algorithm 1 of the paper).

    Each has the largest summed distance to those before it; among several, the first in lexicographic order.
    The first permutation is the identity; the paper draws it at random.

    Raises:
        ValueError: ``count`` is below 1, or more than there are.
    """
    if not 1 <= count <= math.factorial(TILES):
        raise ValueError(f"permutations is {count}; use 1 to {math.factorial(TILES)}")
    everything = np.array(list(itertools.permutations(range(TILES))), dtype=np.uint8)
    distance = np.zeros(len(everything), dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        distance += (everything != everything[chosen[-1]]).sum(axis=1)
        distance[chosen[-1]] = -TILES * count  # never twice
        chosen.append(int(distance.argmax()))
    return everything[chosen]
