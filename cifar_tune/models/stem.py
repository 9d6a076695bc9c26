"""The first layers that ResNet and DenseNet were published with, made for images of 224x224."""

from torch import nn

from cifar_tune.models.activation import ActivationFactory
from cifar_tune.models.convolution import convolution
from cifar_tune.models.norm import NormFactory

CIFAR = "cifar"
IMAGENET = "imagenet"


def imagenet_stem(
    inputs: int, outputs: int, norm: NormFactory | None, activation: ActivationFactory
) -> list[nn.Module]:
    """A 7x7 convolution of stride 2, norm, activation, 3x3 max-pooling of stride 2: a quarter of height and width."""
    return [
        *convolution(inputs, outputs, 7, norm, stride=2),
        activation(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
