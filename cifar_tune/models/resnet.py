"""Residual networks: those for ImageNet (reports A and B) and those for CIFAR (report D).

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016 (arXiv:1512.03385).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.models.layers import (
    CIFAR,
    IMAGENET,
    ActivationFactory,
    ImageShape,
    NormFactory,
    convolution,
    imagenet_stem,
    initialize_like_he,
)

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

    def silence(self) -> None:
        """Let the layers begin by giving nothing but zeros, so that the block begins as its shortcut alone.

        Of the last norm the scale begins at zero: Goyal et al. 2017, arXiv:1706.02677, section 5.1. Where no norm
        follows, the last filters do: Zhang, Dauphin and Ma 2019, arXiv:1901.09321. Then deep nets train at learning
        rates at which they diverge otherwise.
        """
        weights = (getattr(layer, "weight", None) for layer in reversed(self.residual))
        nn.init.zeros_(next(weight for weight in weights if isinstance(weight, nn.Parameter)))

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


EVERY = "every"


class ResNet(nn.Module):
    """A stem, stages of residual blocks, the mean over the image, dropout and one linear layer.

    Each stage after the first doubles the channels and halves the image. Shortcuts that change shape are 1x1
    convolutions with a norm (option B of the paper). Bottleneck blocks have their stride in the 3x3 convolution, as
    torchvision's do. Convolutions are initialised by He's normal distribution of the fan-out.

    Args:
        image_shape: (3, H, W); any size.
        classes: number of logits.
        width: channels of the stem and of the convolutions of the first stage.
        activation: makes the module after each norm and each addition.
        norm: makes the norm after convolutions; None: without, the convolutions have a bias.
        norm_placement: `every`: a norm after each convolution; `first`: after the stem and the first one of each block.
        residual: whether there are shortcuts; without them it is the paper's plain net.
        zero_init_residual: whether every block with a shortcut begins as the shortcut alone (`ResidualBlock.silence`).
        dropout: share of the features dropped before the linear layer.
        blocks: how many of each stage.
        stem: `cifar`: one 3x3 convolution; `imagenet`: 7x7 of stride 2, and pooling.
        bottleneck: blocks of three convolutions instead of two.
        shortcut: makes the shortcuts where the shape changes.
    """

    def __init__(  # noqa: PLR0913 (one argument per knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        norm_placement: str,
        residual: bool,
        zero_init_residual: bool,
        dropout: float,
        blocks: tuple[int, ...],
        stem: str = CIFAR,
        bottleneck: bool = False,
        shortcut: ShortcutFactory = projected,
    ) -> None:
        super().__init__()
        plan = BlockPlan(
            activation,
            norm=norm,
            later_norm=norm if norm_placement == EVERY else None,
            shortcut=shortcut if residual else None,
            bottleneck=bottleneck,
        )
        if stem == IMAGENET:
            first = imagenet_stem(image_shape[0], width, norm, activation)
        else:
            first = [*convolution(image_shape[0], width, 3, norm), activation()]
        self.stem = nn.Sequential(*first)
        layers: list[ResidualBlock] = []
        inputs = width
        for stage, count in enumerate(blocks):
            channels = width * 2**stage
            for index in range(count):
                layers.append(plan.block(inputs, channels, stride=2 if stage > 0 and index == 0 else 1))
                inputs = plan.outputs(channels)
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes))
        initialize_like_he(self, "fan_out")
        if residual and zero_init_residual:
            for block in layers:
                block.silence()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.pool(self.blocks(self.stem(images))))
        return logits


class CifarResNet(ResNet):
    """The ResNets for CIFAR-10 (section 4.2 of the paper): three stages of 16, 32 and 64 channels.

    Shortcuts have no parameters (option A).
    """

    def __init__(  # noqa: PLR0913 (one argument per knob)
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        norm_placement: str,
        residual: bool,
        zero_init_residual: bool,
        dropout: float,
        blocks: tuple[int, int, int],
    ) -> None:
        super().__init__(
            image_shape,
            classes,
            width=width,
            activation=activation,
            norm=norm,
            norm_placement=norm_placement,
            residual=residual,
            zero_init_residual=zero_init_residual,
            dropout=dropout,
            blocks=blocks,
            shortcut=padded,
        )
