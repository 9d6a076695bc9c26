"""The small convolutional nets of the reports.

`TutorialNet` is the net of PyTorch's CIFAR-10 tutorial (report A), `SimpleNN` the small net of report D, and `StageCNN`
the two "own CNNs" of report A: stages of convolution, norm, activation and pooling.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from cifar_tune.models.layers import (
    ActivationFactory,
    ImageShape,
    LinearHead,
    NormFactory,
    convolution,
    normalized,
    require_image_size,
)

TUTORIAL_NET_IMAGE = 16
TUTORIAL_NET_HIDDEN = (120, 84)


class TutorialNet(nn.Module):
    """Twice 5x5 convolution without padding, activation, max-pooling by 2; then linear layers of 120 and 84 units.

    The convolutions have `width` and `width * 16 / 6` channels (6 and 16 in the tutorial: 62,006 parameters on
    32x32 images and ten classes). A norm, if there is one, follows each convolution, which then has no bias. PyTorch's
    default initialisation.

    Raises:
        UserError: the images are smaller than 16x16.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
    ) -> None:
        super().__init__()
        require_image_size("tutorial_net", image_shape, TUTORIAL_NET_IMAGE)
        channels, height, columns = image_shape
        second = round(width * 16 / 6)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, bias=norm is None),
            *normalized(width, norm),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, second, 5, bias=norm is None),
            *normalized(second, norm),
            activation(),
            nn.MaxPool2d(2),
        )
        inputs = second * _tutorial_net_side(height) * _tutorial_net_side(columns)
        self.head = LinearHead((inputs, *TUTORIAL_NET_HIDDEN, classes), activation, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _tutorial_net_side(side: int) -> int:
    """Pixels per side after both convolutions and poolings."""
    return ((side - 4) // 2 - 4) // 2


SIMPLE_NN_IMAGE = 12
SIMPLE_NN_HIDDEN = (120, 84)


class SimpleNN(nn.Module):
    """A 5x5 and a 3x3 convolution, each with activation and max-pooling by 2; then linear layers of 120 and 84 units.

    The convolutions have `width` and `2 * width` channels (8 and 16 in the report: 82,006 parameters on 32x32 images
    and ten classes), no padding and no bias: the report prints 1,152 parameters for the second. A norm, if there
    is one, follows each of them. PyTorch's default initialisation.

    Raises:
        UserError: the images are smaller than 12x12.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
    ) -> None:
        super().__init__()
        require_image_size("simple_nn", image_shape, SIMPLE_NN_IMAGE)
        channels, height, columns = image_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, bias=False),
            *normalized(width, norm),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, bias=False),
            *normalized(2 * width, norm),
            activation(),
            nn.MaxPool2d(2),
        )
        inputs = 2 * width * _simple_nn_side(height) * _simple_nn_side(columns)
        self.head = LinearHead((inputs, *SIMPLE_NN_HIDDEN, classes), activation, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _simple_nn_side(side: int) -> int:
    """Pixels per side after both convolutions and poolings."""
    return ((side - 4) // 2 - 2) // 2


class StageCNN(nn.Module):
    """Stages that double the channels and halve the image, then three linear layers.

    A stage is a 3x3 convolution with padding 1, the norm, the activation, and max-pooling by 2. The convolutions
    have a bias only where no norm follows, whose own would cancel it. The hidden linear layers are as wide as the last
    stage has channels. PyTorch's default initialisation.

    Raises:
        UserError: the images are too small for that many poolings.
    """

    name: ClassVar[str]
    stages: ClassVar[int]

    def __init__(
        self,
        image_shape: ImageShape,
        classes: int,
        *,
        width: int,
        activation: ActivationFactory,
        norm: NormFactory | None,
        dropout: float,
    ) -> None:
        super().__init__()
        require_image_size(self.name, image_shape, 2**self.stages)
        channels, height, columns = image_shape
        stage_channels = [channels] + [width * 2**stage for stage in range(self.stages)]
        self.features = nn.Sequential(*_stage_layers(stage_channels, activation, norm))
        last = stage_channels[-1]
        inputs = last * (height >> self.stages) * (columns >> self.stages)
        self.head = LinearHead((inputs, last, last, classes), activation, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


class TwoStageCNN(StageCNN):
    """Stages of `width` and 2 `width` channels, as in report A: 64 and 128, linear layers 128-128-classes."""

    name = "cnn2"
    stages = 2


class ThreeStageCNN(StageCNN):
    """Stages of 1, 2 and 4 times `width` channels, as in report A: 64, 128, 256, linear layers 256-256-classes."""

    name = "cnn3"
    stages = 3


def _stage_layers(
    stage_channels: Sequence[int], activation: ActivationFactory, norm: NormFactory | None
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(stage_channels):
        layers += [*convolution(inputs, outputs, 3, norm), activation(), nn.MaxPool2d(2)]
    return layers
