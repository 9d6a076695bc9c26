"""The two "own CNNs" of report A: stages of convolution, norm, activation and pooling."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.convolution import convolution
from cifar_tune.models.image_size import ImageShape, require_image_size
from cifar_tune.models.linear_head import LinearHead
from cifar_tune.models.norm import NormFactory


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
