"""A net that learns a lot in few steps. Its first layer makes its outputs uncorrelated."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.models.layers import (
    ActivationFactory,
    ImageShape,
    NormFactory,
    fix_scale,
    normalized,
    pass_through,
    require_image_size,
)

PATCH = 2
"""Pixels per side."""

_EPS = 5e-4
"""Added to the variance of each direction: those in which patches hardly differ are noise, and not blown up."""

_CHUNK = 50
"""Images whose patches are held in memory at a time, as 64-bit floats: they fit a core's cache."""


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
    height, width = (side - PATCH + 1 for side in images.shape[2:])
    total, products, count = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
    for chunk in torch.split(images, _CHUNK):
        channels = chunk.permute(1, 0, 2, 3).double().contiguous()
        # Four shifted copies: five times as fast as `unfold`, whose result has to be reordered.
        shifted = [
            channels[:, :, row : row + height, col : col + width] for row in range(PATCH) for col in range(PATCH)
        ]
        patches = torch.stack(shifted, 1).view(size, -1)
        total += patches.sum(1)
        products += patches @ patches.T
        count += patches.shape[1]
    mean = total / count
    return products / count - mean.outer(mean)


DIRAC = "dirac"
_SMALLEST = PATCH - 1 + 2**3


class AirbenchNet(nn.Module):
    """Whitening, then three blocks of two 3x3 convolutions, as in "94% on CIFAR-10 in 3.29 seconds on a single GPU".

    Jordan 2024, arXiv:2404.00498, section 3, of which this is an implementation from the text. A block is convolution,
    max-pooling by 2, norm, activation, convolution, norm, activation; the blocks have `width`, 4 `width` and 4 `width`
    channels. Scales of norms stay 1, so that only their biases are learned. Behind the blocks every channel's maximum
    goes into a linear layer without bias, and what comes out is multiplied by `output_scale`.

    Args:
        image_shape: (3, H, W).
        classes: how many.
        width: channels of the first block.
        activation: makes each activation.
        norm: makes each norm.
        dropout: share of the features dropped before the linear layer.
        init: `dirac` lets every convolution begin by passing on the channels that come in.
        output_scale: factor of the logits.
        whitening_bias_epochs: epochs in which the bias of the whitening is learned; from then on it stays.

    Raises:
        UserError: the images are too small for three poolings.
    """

    def __init__(  # noqa: PLR0913  (one argument for each knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
        init: str,
        output_scale: float,
        whitening_bias_epochs: int,
    ) -> None:
        super().__init__()
        require_image_size("airbench_net", image_shape, _SMALLEST)
        self.whitening = Whitening(image_shape[0])
        self.blocks = nn.Sequential(
            activation(),
            _block(self.whitening.outputs, width, activation, norm),
            _block(width, 4 * width, activation, norm),
            _block(4 * width, 4 * width, activation, norm),
            _GlobalMaxPool(),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width, classes, bias=False))
        self._output_scale = output_scale
        self._whitening_bias_epochs = whitening_bias_epochs
        fix_scale(self)
        if init == DIRAC:
            pass_through(self)

    def fit(self, images: Tensor) -> None:
        """Compute the whitening; see `FittedModel`."""
        self.whitening.fit(images)

    def begin_epoch(self, epoch: int) -> None:
        """Learn the bias of the whitening, or no longer; see `FollowsEpochs`."""
        self.whitening.bias.requires_grad_(epoch <= self._whitening_bias_epochs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.blocks(self.whitening(images)))
        return logits * self._output_scale


class _GlobalMaxPool(nn.Module):
    """The maximum of every channel: what `AdaptiveMaxPool2d(1)` computes, whose gradient is not repeatable on a GPU."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, 1, 1) of (N, C, H, W)."""
        return functional.max_pool2d(images, images.shape[2:])


def _block(inputs: int, outputs: int, activation: ActivationFactory, norm: NormFactory | None) -> nn.Sequential:
    bias = norm is None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        nn.MaxPool2d(2),
        *normalized(outputs, norm),
        activation(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias),
        *normalized(outputs, norm),
        activation(),
    )
