"""DenseNet-BC (report A).

Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", CVPR 2017 (arXiv:1608.06993).
"""

import torch
from torch import Tensor, nn

from cifar_tune.models.layers import (
    IMAGENET,
    ActivationFactory,
    ImageShape,
    NormFactory,
    imagenet_stem,
    initialize_like_he,
    normalized,
    require_image_size,
)

BOTTLENECK = 4
"""Channels between the two convolutions of a dense layer, over the growth rate."""
SMALLEST_IMAGE = 8
SMALLEST_IMAGE_BEHIND_STEM = 29
"""A quarter of it, rounded up, is 8."""


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, the mean over the image, dropout and one linear layer.

    The growth rate is half of the stem's channels, as in the paper (rounded up where that is odd). The stem `cifar` is
    a 3x3 convolution and nothing more: the norm and activation of the first dense layer follow. Convolutions are
    initialised by He's normal distribution of the fan-in, as in torchvision.

    Args:
        image_shape: (3, H, W).
        classes: number of logits.
        name: of the model, for messages.
        width: channels of the stem, twice the growth rate: 64 in the published nets.
        activation: makes the module before each convolution, behind its norm.
        norm: makes the norm before each convolution; None: without, the convolutions have a bias.
        dropout: share of the features dropped before the linear layer.
        blocks: dense layers of each block.
        stem: `cifar`, or `imagenet`: 7x7 of stride 2, norm, activation, and pooling.

    Raises:
        UserError: the images are smaller than 8x8, or 29x29 with the stem `imagenet`.
    """

    def __init__(  # noqa: PLR0913 (one argument per knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        name: str,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
        blocks: tuple[int, ...],
        stem: str,
    ) -> None:
        super().__init__()
        if stem == IMAGENET:
            require_image_size(f"{name} with the stem {IMAGENET}", image_shape, SMALLEST_IMAGE_BEHIND_STEM)
            layers = imagenet_stem(image_shape[0], width, norm, activation)
        else:
            require_image_size(name, image_shape, SMALLEST_IMAGE)
            layers = [nn.Conv2d(image_shape[0], width, 3, padding=1, bias=norm is None)]
        growth = (width + 1) // 2
        channels = width
        for block, count in enumerate(blocks):
            if block > 0:
                layers.append(_transition(channels, channels // 2, norm, activation))
                channels //= 2
            layers.append(DenseBlock(channels, growth, count, norm, activation))
            channels += count * growth
        layers += [*normalized(channels, norm), activation()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes))
        nn.init.zeros_(self.head[-1].bias)  # type: ignore[arg-type]
        initialize_like_he(self, "fan_in")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.pool(self.features(images)))
        return logits


class DenseBlock(nn.ModuleList):
    """Layers that each see the outputs of all before them, and add `growth` channels to them."""

    def __init__(
        self, inputs: int, growth: int, count: int, norm: NormFactory | None, activation: ActivationFactory
    ) -> None:
        super().__init__(_dense_layer(inputs + index * growth, growth, norm, activation) for index in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, inputs + count * growth, H, W) of features (N, inputs, H, W)."""
        found = [features]
        for layer in self:
            # a copy for each layer: without a norm in front, its activation works in place
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


def _dense_layer(inputs: int, growth: int, norm: NormFactory | None, activation: ActivationFactory) -> nn.Sequential:
    inner = BOTTLENECK * growth
    return nn.Sequential(
        *_activated_convolution(inputs, inner, 1, norm, activation),
        *_activated_convolution(inner, growth, 3, norm, activation),
    )


def _transition(inputs: int, outputs: int, norm: NormFactory | None, activation: ActivationFactory) -> nn.Sequential:
    """Half the channels, half the image."""
    return nn.Sequential(*_activated_convolution(inputs, outputs, 1, norm, activation), nn.AvgPool2d(2))


def _activated_convolution(
    inputs: int, outputs: int, size: int, norm: NormFactory | None, activation: ActivationFactory
) -> list[nn.Module]:
    """Norm, activation, convolution: the order of DenseNet."""
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=norm is None)
    return [*normalized(inputs, norm), activation(), layer]
