"""The blocks of residual networks, and their shortcuts."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.convolution import convolution
from cifar_tune.models.norm import NormFactory

EXPANSION = 4
"""Channels that a bottleneck block gives, over those that it computes with."""

ShortcutFactory = Callable[[int, int, int, NormFactory | None], nn.Module]
"""Makes the shortcut of a block whose output has another shape, from (channels in, channels out, stride, norm)."""


class ResidualBlock(nn.Module):
    """The activation of (layers + shortcut), or of the layers alone.

    Args:
        layers: what is learned beside the shortcut.
        shortcut: None makes a plain block, without the sum.
        activation: what follows.
    """

    def __init__(self, layers: nn.Sequential, shortcut: nn.Module | None, activation: nn.Module) -> None:
        super().__init__()
        self.residual = layers
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, outputs, ceil(H / stride), ceil(W / stride)) of features (N, inputs, H, W)."""
        summed = self.residual(features)
        if self.shortcut is not None:
            summed = summed + self.shortcut(features)
        activated: Tensor = self.activation(summed)
        return activated


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """How the blocks of one net are made.

    Attributes:
        activation: makes the module after each norm and each sum.
        norm: makes the norm after the first convolution of a block.
        later_norm: makes the norm after the other convolutions, those of shortcuts among them.
        shortcut: makes the shortcuts where the shape changes; None: no shortcuts at all, a plain net.
        bottleneck: 1x1, 3x3 (with the stride) and 1x1 convolutions instead of two of 3x3.
    """

    activation: ActivationFactory
    norm: NormFactory | None
    later_norm: NormFactory | None
    shortcut: ShortcutFactory | None
    bottleneck: bool = False

    def outputs(self, channels: int) -> int:
        """Channels that a block gives which computes with `channels`."""
        return EXPANSION * channels if self.bottleneck else channels

    def block(self, inputs: int, channels: int, stride: int) -> ResidualBlock:
        """Make one block."""
        outputs = self.outputs(channels)
        if self.bottleneck:
            layers = [
                *convolution(inputs, channels, 1, self.norm),
                self.activation(),
                *convolution(channels, channels, 3, self.later_norm, stride=stride),
                self.activation(),
                *convolution(channels, outputs, 1, self.later_norm),
            ]
        else:
            layers = [
                *convolution(inputs, channels, 3, self.norm, stride=stride),
                self.activation(),
                *convolution(channels, channels, 3, self.later_norm),
            ]
        return ResidualBlock(nn.Sequential(*layers), self._shortcut(inputs, outputs, stride), self.activation())

    def _shortcut(self, inputs: int, outputs: int, stride: int) -> nn.Module | None:
        if self.shortcut is None:
            return None
        same_shape = stride == 1 and inputs == outputs
        return nn.Identity() if same_shape else self.shortcut(inputs, outputs, stride, self.later_norm)


class PaddedShortcut(nn.Module):
    """Option A of the paper: every `stride`-th pixel, and zeros for the channels that are new."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.new_channels = outputs - inputs
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, outputs, ceil(H / stride), ceil(W / stride)) of features (N, inputs, H, W)."""
        pixels = features[:, :, :: self.stride, :: self.stride]
        return functional.pad(pixels, (0, 0, 0, 0, 0, self.new_channels))


def padded(inputs: int, outputs: int, stride: int, _norm: NormFactory | None) -> nn.Module:
    """Option A of the paper, which has nothing to learn and no norm."""
    return PaddedShortcut(inputs, outputs, stride)


def projected(inputs: int, outputs: int, stride: int, norm: NormFactory | None) -> nn.Module:
    """Option B of the paper: a 1x1 convolution and its norm."""
    return nn.Sequential(*convolution(inputs, outputs, 1, norm, stride=stride))
