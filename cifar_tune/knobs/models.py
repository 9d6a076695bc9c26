"""The models. A new one is one entry here, and a class that takes `(image_shape, classes, **arguments)`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class ModelPart(Part):
    """A model.

    Attributes:
        width_unit: the channels of every normalized layer are multiples of g > 1 exactly where `width` is one of
            g * width_unit; 1 where all channels are multiples of `width`.
        fitted_images: of this many training images it computes weights before the first epoch (`FittedModel`); 0: none.
    """

    width_unit: int = 1
    fitted_images: int = 0


_COMMON = {"width": "width", "activation": "activation", "norm": "norm", "dropout": "dropout"}
_STEM = {"stem": "stem"}
_RESIDUAL = {
    "norm_placement": "norm_placement",
    "residual": "residual",
    "zero_init_residual": "zero_init_residual",
}
_RESNET = "cifar_tune.models.resnet:ResNet"
_CIFAR_RESNET = "cifar_tune.models.resnet:CifarResNet"
_VGG = "cifar_tune.models.vgg:VGG"
_DENSENET = "cifar_tune.models.densenet:DenseNet"

_BUILT_IN: Mapping[str, ModelPart] = {
    "tutorial_net": ModelPart(
        "cifar_tune.models.small_nets:TutorialNet",
        "PyTorch's tutorial net: two 5x5 convolutions, three linear layers; 62,006 parameters",
        arguments=_COMMON,
        defaults={"width": 6, "norm": "none"},
        width_unit=3,
    ),
    "simple_nn": ModelPart(
        "cifar_tune.models.small_nets:SimpleNN",
        "5x5 and 3x3 convolutions (8, 16 channels), three linear layers; 82,006 parameters",
        arguments=_COMMON,
        defaults={"width": 8, "norm": "none"},
    ),
    "cnn2": ModelPart(
        "cifar_tune.models.small_nets:TwoStageCNN",
        "two stages of 3x3 convolution, norm, activation, pooling; three linear layers; 1,142,346 parameters",
        arguments=_COMMON,
    ),
    "cnn3": ModelPart(
        "cifar_tune.models.small_nets:ThreeStageCNN",
        "three stages as in cnn2, each doubling the channels; three linear layers; 1,488,458 parameters",
        arguments=_COMMON,
    ),
    "airbench_net": ModelPart(
        "cifar_tune.models.airbench_net:AirbenchNet",
        "for short trainings: a whitening layer that is not learned, three blocks of two 3x3 convolutions (Jordan "
        "2024); 1,971,352 parameters",
        arguments=_COMMON
        | {"init": "init", "output_scale": "output_scale", "whitening_bias_epochs": "whitening_bias_epochs"},
        defaults={"activation": "gelu"},
        fitted_images=5000,
    ),
    "vgg11": ModelPart(
        _VGG,
        "VGG-A with three small linear layers for 32x32 images; 9,756,426 parameters (9,750,922 without norm)",
        arguments=_COMMON,
        constants={"name": "vgg11", "convolutions": (1, 1, 2, 2, 2)},
    ),
    "vgg19": ModelPart(
        _VGG,
        "VGG-19 with three small linear layers for 32x32 images; 20,565,834 parameters (20,554,826 without norm)",
        arguments=_COMMON,
        constants={"name": "vgg19", "convolutions": (2, 2, 4, 4, 4)},
    ),
    "resnet18": ModelPart(
        _RESNET,
        "ResNet-18 with a 3x3 stem for small images; 11,173,962 parameters",
        arguments=_COMMON | _RESIDUAL | _STEM,
        constants={"blocks": (2, 2, 2, 2)},
    ),
    "resnet34": ModelPart(
        _RESNET,
        "ResNet-34 with a 3x3 stem; 21,282,122 parameters",
        arguments=_COMMON | _RESIDUAL | _STEM,
        constants={"blocks": (3, 4, 6, 3)},
    ),
    "resnet50": ModelPart(
        _RESNET,
        "ResNet-50 (bottleneck blocks, stride in their 3x3 convolution) with a 3x3 stem; 23,520,842 parameters",
        arguments=_COMMON | _RESIDUAL | _STEM,
        constants={"blocks": (3, 4, 6, 3), "bottleneck": True},
    ),
    "resnet101": ModelPart(
        _RESNET,
        "ResNet-101, as resnet50; 42,512,970 parameters",
        arguments=_COMMON | _RESIDUAL | _STEM,
        constants={"blocks": (3, 4, 23, 3), "bottleneck": True},
    ),
    "resnet152": ModelPart(
        _RESNET,
        "ResNet-152, as resnet50; 58,156,618 parameters",
        arguments=_COMMON | _RESIDUAL | _STEM,
        constants={"blocks": (3, 8, 36, 3), "bottleneck": True},
    ),
    "resnet20": ModelPart(
        _CIFAR_RESNET,
        "ResNet-20 for CIFAR (He et al. 2015), parameter-free shortcuts; 269,722 parameters",
        arguments=_COMMON | _RESIDUAL,
        defaults={"width": 16},
        constants={"blocks": (3, 3, 3)},
    ),
    "resnet32": ModelPart(
        _CIFAR_RESNET,
        "ResNet-32, as resnet20; 464,154 parameters",
        arguments=_COMMON | _RESIDUAL,
        defaults={"width": 16},
        constants={"blocks": (5, 5, 5)},
    ),
    "resnet44": ModelPart(
        _CIFAR_RESNET,
        "ResNet-44, as resnet20; 658,586 parameters",
        arguments=_COMMON | _RESIDUAL,
        defaults={"width": 16},
        constants={"blocks": (7, 7, 7)},
    ),
    "resnet56": ModelPart(
        _CIFAR_RESNET,
        "ResNet-56, as resnet20; 853,018 parameters",
        arguments=_COMMON | _RESIDUAL,
        defaults={"width": 16},
        constants={"blocks": (9, 9, 9)},
    ),
    "resnet110": ModelPart(
        _CIFAR_RESNET,
        "ResNet-110, as resnet20; 1,727,962 parameters",
        arguments=_COMMON | _RESIDUAL,
        defaults={"width": 16},
        constants={"blocks": (18, 18, 18)},
    ),
    "densenet121": ModelPart(
        _DENSENET,
        "DenseNet-121 (growth rate width / 2) with a 3x3 stem; 6,956,298 parameters",
        arguments=_COMMON | _STEM,
        constants={"name": "densenet121", "blocks": (6, 12, 24, 16)},
        width_unit=2,
    ),
    "densenet169": ModelPart(
        _DENSENET,
        "DenseNet-169, as densenet121; 12,493,322 parameters",
        arguments=_COMMON | _STEM,
        constants={"name": "densenet169", "blocks": (6, 12, 32, 32)},
        width_unit=2,
    ),
    "densenet201": ModelPart(
        _DENSENET,
        "DenseNet-201, as densenet121; 18,104,330 parameters",
        arguments=_COMMON | _STEM,
        constants={"name": "densenet201", "blocks": (6, 12, 48, 32)},
        width_unit=2,
    ),
    "timm": ModelPart(
        "cifar_tune.models.timm_model:timm_model",
        "the model timm_name of the package timm, without pretrained weights; needs cifar-tune[timm]",
        arguments={"timm_name": "name", "dropout": "dropout"},
    ),
}

MODELS: Mapping[str, ModelPart] = MappingProxyType(_BUILT_IN)
