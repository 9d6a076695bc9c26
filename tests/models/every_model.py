"""Our models: as they were published, of which parts they consist, and how tests build them."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn

from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_model

CIFAR = (3, 32, 32)
IMAGENET = (3, 224, 224)

PUBLISHED_PARAMETERS: Mapping[str, int] = {
    "tutorial_net": 62_006,
    "simple_nn": 82_006,
    "cnn2": 1_142_346,
    "cnn3": 1_488_458,
    "airbench_net": 1_971_352,
    "vgg11": 9_756_426,
    "vgg19": 20_565_834,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "densenet121": 6_956_298,
    "densenet169": 12_493_322,
    "densenet201": 18_104_330,
}
"""At the model's default width, on 32x32 images and ten classes; cnn2, cnn3 and the heads of vgg11 and vgg19 follow
from the descriptions of reports A and C."""

OURS = tuple(PUBLISHED_PARAMETERS)
DEEP = (
    "vgg19", "resnet34", "resnet101", "resnet152", "resnet32", "resnet44", "resnet56", "resnet110", "densenet169",
    "densenet201",
)  # fmt: skip
"""Built from the same classes as those that are not deep."""
DEEPEST = ("resnet101", "resnet152", "resnet56", "resnet110", "densenet169", "densenet201")
"""Take seconds each, even without numbers. A forward pass of them is counted in test_complexity.py."""
SHALLOW = tuple(model for model in OURS if model not in DEEP)
RESIDUAL = ("resnet18", "resnet50", "resnet20")
WITH_STEM = tuple(model for model in OURS if "stem" in MODELS[model].arguments)

ACTIVATION_PLACES: Mapping[str, int] = {
    "tutorial_net": 4,
    "simple_nn": 4,
    "cnn2": 4,
    "cnn3": 5,
    "airbench_net": 7,
    "vgg11": 10,
    "vgg19": 18,
    "resnet18": 17,
    "resnet34": 33,
    "resnet50": 49,
    "resnet101": 100,
    "resnet152": 151,
    "resnet20": 19,
    "resnet32": 31,
    "resnet44": 43,
    "resnet56": 55,
    "resnet110": 109,
    "densenet121": 120,
    "densenet169": 168,
    "densenet201": 200,
}

NORM_PLACES: Mapping[str, int] = {
    "tutorial_net": 2,
    "simple_nn": 2,
    "cnn2": 2,
    "cnn3": 3,
    "airbench_net": 6,
    "vgg11": 8,
    "resnet18": 20,
    "resnet50": 53,
    "resnet20": 19,
    "densenet121": 120,
}

SMALLEST_IMAGE: Mapping[str, int] = {
    "tutorial_net": 16,
    "simple_nn": 12,
    "cnn2": 4,
    "cnn3": 8,
    "airbench_net": 9,
    "vgg11": 32,
    "resnet18": 1,
    "resnet50": 1,
    "resnet20": 1,
    "densenet121": 8,
}


def config(model: str, **chosen: Value) -> Configuration:
    return complete({"model": model, "width": 8, **chosen})


def build(model: str, **chosen: Value) -> nn.Module:
    return build_model(config(model, **chosen), CIFAR, 10)


def as_published(model: str, **chosen: Value) -> nn.Module:
    """At its default width, without the memory for it."""
    with torch.device("meta"):
        return build_model(complete({"model": model, **chosen}), CIFAR, 10)


Kind = TypeVar("Kind", bound=nn.Module)


def modules(model: nn.Module, kind: type[Kind]) -> list[Kind]:
    return [module for module in model.modules() if isinstance(module, kind)]


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in model.state_dict().values()]


NORM_CLASSES = (nn.BatchNorm2d, nn.GroupNorm)


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, NORM_CLASSES)]
