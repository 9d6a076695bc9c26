"""The models. A new one is one entry here, and a class that takes `(image_shape, classes, **arguments)`."""

from collections.abc import Mapping

from cifar_tune.knobs.part import Part

_COMMON = {"width": "width", "activation": "activation", "dropout": "dropout"}

MODELS: Mapping[str, Part] = {
    "tutorial_net": Part(
        "cifar_tune.models.tutorial_net:TutorialNet",
        "PyTorch's tutorial net: two 5x5 convolutions, three linear layers; 62,006 parameters",
        arguments=_COMMON,
        defaults={"width": 6},
    ),
    "simple_nn": Part(
        "cifar_tune.models.simple_nn:SimpleNN",
        "5x5 and 3x3 convolutions (8, 16 channels), three linear layers; 82,006 parameters",
        arguments=_COMMON,
        defaults={"width": 8},
    ),
    "cnn2": Part(
        "cifar_tune.models.stage_cnn:TwoStageCNN",
        "two stages of 3x3 convolution, batch norm, activation, pooling; three linear layers; 1,142,346 parameters",
        arguments=_COMMON,
    ),
    "cnn3": Part(
        "cifar_tune.models.stage_cnn:ThreeStageCNN",
        "three stages as in cnn2, each doubling the channels; three linear layers; 1,488,458 parameters",
        arguments=_COMMON,
    ),
    "resnet18": Part(
        "cifar_tune.models.resnet:ResNet18",
        "ResNet-18 with a 3x3 stem for small images; 11,173,962 parameters",
        arguments=_COMMON,
    ),
    "resnet20": Part(
        "cifar_tune.models.resnet:ResNet20",
        "ResNet-20 for CIFAR (He et al. 2015), parameter-free shortcuts; 269,722 parameters",
        arguments=_COMMON,
        defaults={"width": 16},
    ),
}
