"""A first layer whose outputs are uncorrelated."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 2
"""Pixels per side."""

_EPS = 5e-4
"""Added to the variance of each direction: those in which patches hardly differ are noise, and not blown up."""

_CHUNK = 250
"""Images whose patches are held in memory at a time, as 64-bit floats."""


class Whitening(nn.Module):
    """A convolution without padding by the principal directions of 2x2 patches of training images, and their negatives.

    Each output has about variance 1 and is uncorrelated with those of other directions (of Jordan 2024,
    arXiv:2404.00498, section 3.2, the layer of Page 2019, "How to train your ResNet"). The filters are a buffer, which
    no optimizer sees; the bias is learned.

    Attributes:
        weight: float32 (8 * channels, channels, 2, 2), random until `fit`.
        bias: float32 (8 * channels).
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        directions = channels * PATCH**2
        weight = torch.empty(2 * directions, channels, PATCH, PATCH)
        nn.init.kaiming_uniform_(weight, a=5**0.5)  # as nn.Conv2d begins
        self.register_buffer("weight", weight)
        self.bias = nn.Parameter(torch.zeros(2 * directions))

    @property
    def outputs(self) -> int:
        """Channels behind the layer."""
        return len(self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the directions from the patches of these images, float32 (N, channels, H, W) on the CPU."""
        variances, directions = torch.linalg.eigh(patch_covariance(images))
        filters = (directions / (variances + _EPS).sqrt()).T.reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 8 * channels, H - 1, W - 1) of images (N, channels, H, W)."""
        return functional.conv2d(images, self.weight, self.bias)


def patch_covariance(images: Tensor) -> Tensor:
    """The covariance of all 2x2 patches of images (N, C, H, W), float64 (4C, 4C); of each channel its rows in turn."""
    size = images.shape[1] * PATCH**2
    total, products, count = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
    for chunk in torch.split(images, _CHUNK):
        patches = functional.unfold(chunk.double(), PATCH).transpose(0, 1).reshape(size, -1)
        total += patches.sum(1)
        products += patches @ patches.T
        count += patches.shape[1]
    mean = total / count
    return products / count - mean.outer(mean)
