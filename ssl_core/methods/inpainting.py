"""Inpainting (Pathak et al. 2016, context encoders): draw the masked centre from its surroundings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods.base import Method, StepOutput

BORDER_WEIGHT = 10.0
_WIDEST = 256  # channels of the decoder's first map
_START = 7  # largest side of that map, in pixels


class Inpainting(Method):
    """Encoder of the image without its centre, and a small decoder from the features to the centre.

    From the paper: the middle half of both sides is drawn; a strip of 4 px in 128 around the hole stays
    visible, is drawn too and counts ten times; the loss is the squared error; the hole has the mean colour
    (here mid-grey, which is 0). What differs: there is no adversarial loss, as in the paper's own feature
    learning; the bottleneck is the encoder's pooled features instead of a fully connected layer over
    channels, so that the evaluated representation is the one that was trained.
    """

    n_views = 1

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.centre = Centre(config.image_size)
        self.decoder = Decoder(self.encoder.feature_dim, self.centre.side)

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """Weighted mean squared error over the centre, in squared units of the input (63.75 grey levels)."""
        images = views[0]
        features = self.encoder(self.centre.masked(images))
        error = (self.decoder(features).float() - self.centre.of(images)) ** 2
        return StepOutput((error * self.centre.weights(images)).mean(), features)


class Centre:
    """The hole: ``side`` pixels of the image's centre are drawn, and all of them but a strip of ``overlap``
    pixels along the edge are hidden."""

    def __init__(self, image_size: int) -> None:
        self.side = image_size // 2
        self.overlap = image_size // 32
        self.start = (image_size - self.side) // 2

    def of(self, images: Tensor) -> Tensor:
        """The centre (n, 3, side, side) of images (n, 3, S, S)."""
        drawn = slice(self.start, self.start + self.side)
        return images[:, :, drawn, drawn]

    def masked(self, images: Tensor) -> Tensor:
        """The images with mid-grey in the hidden part."""
        hidden = slice(self.start + self.overlap, self.start + self.side - self.overlap)
        masked = images.clone(memory_format=torch.preserve_format)
        masked[:, :, hidden, hidden] = 0.0
        return masked

    def weights(self, images: Tensor) -> Tensor:
        """Weights (side, side): 10 on the strip, 1 in the hole, scaled to a mean of 1 at any size."""
        weights = images.new_full((self.side, self.side), BORDER_WEIGHT)
        hidden = slice(self.overlap, self.side - self.overlap)
        weights[hidden, hidden] = 1.0
        return weights / weights.mean()


class Decoder(nn.Module):
    """Features (n, feature_dim) to images (n, 3, side, side).

    As in the paper: a linear layer to a small map, then transposed convolutions that double its side and
    halve its channels, with batch norm and ReLU between them.
    """

    def __init__(self, feature_dim: int, side: int) -> None:
        super().__init__()
        doublings = 0
        while side / 2**doublings > _START:
            doublings += 1
        self.side, self.start = side, -(-side // 2**doublings)
        width = _WIDEST
        self.first = nn.Sequential(
            nn.Linear(feature_dim, width * self.start**2, bias=False),
            nn.Unflatten(1, (width, self.start, -1)),
        )
        layers: list[nn.Module] = []
        for _ in range(doublings):
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1, bias=False))
            width //= 2
        self.grow = nn.Sequential(
            *layers, nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        drawn: Tensor = self.grow(self.first(features))
        return drawn[:, :, : self.side, : self.side]
