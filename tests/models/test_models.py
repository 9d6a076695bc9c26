"""Every registered model, with every knob that it takes."""

import re
from collections.abc import Mapping
from typing import TypeVar

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from cifar_tune.errors import UserError
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.models.resnet import PaddedShortcut

CIFAR = (3, 32, 32)

PUBLISHED_PARAMETERS: Mapping[str, int] = {
    "tutorial_net": 62_006,
    "simple_nn": 82_006,
    "cnn2": 1_142_346,
    "cnn3": 1_488_458,
    "resnet18": 11_173_962,
    "resnet20": 269_722,
}
"""At the model's default width, on 32x32 images and ten classes; cnn2 and cnn3 follow from report A's description."""

ACTIVATION_PLACES: Mapping[str, int] = {
    "tutorial_net": 4,
    "simple_nn": 4,
    "cnn2": 4,
    "cnn3": 5,
    "resnet18": 17,
    "resnet20": 19,
}

SMALLEST_IMAGE: Mapping[str, int] = {
    "tutorial_net": 16,
    "simple_nn": 12,
    "cnn2": 4,
    "cnn3": 8,
    "resnet18": 1,
    "resnet20": 1,
}


def config(model: str, **chosen: Value) -> Configuration:
    return complete({"model": model, "width": 8, **chosen})


def build(model: str, **chosen: Value) -> nn.Module:
    return build_model(config(model, **chosen), CIFAR, 10)


Kind = TypeVar("Kind", bound=nn.Module)


def modules(model: nn.Module, kind: type[Kind]) -> list[Kind]:
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("size", "classes"), [(32, 10), (33, 2), (47, 100)])
def test_one_logit_per_image_and_class(model: str, size: int, classes: int) -> None:
    net = build_model(config(model), (3, size, size), classes)
    assert net(torch.zeros(2, 3, size, size)).shape == (2, classes)


@pytest.mark.parametrize("model", MODELS)
def test_smallest_image(model: str) -> None:
    smallest = SMALLEST_IMAGE[model]
    net = build_model(config(model), (3, smallest, smallest), 10).eval()
    assert net(torch.zeros(2, 3, smallest, smallest)).shape == (2, 10)
    if smallest > 1:
        with pytest.raises(UserError, match=rf"{model} needs images of at least {smallest}x{smallest}"):
            build_model(config(model), (3, smallest - 1, smallest - 1), 10)


@pytest.mark.parametrize("model", MODELS)
def test_parameters_as_published(model: str) -> None:
    net = build_model(complete({"model": model}), CIFAR, 10)
    assert count_parameters(net) == PUBLISHED_PARAMETERS[model]


@pytest.mark.parametrize("model", MODELS)
def test_description_tells_the_parameters(model: str) -> None:
    (count,) = re.findall(r"([\d,]+) parameters", MODELS[model].meaning)
    assert int(count.replace(",", "")) == PUBLISHED_PARAMETERS[model]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("width", [1, 5, 12])
def test_width_is_the_channels_of_the_first_stage(model: str, width: int) -> None:
    convolutions = modules(build(model, width=width), nn.Conv2d)
    assert convolutions[0].weight.shape[:2] == (width, 3)
    widest = max(convolution.weight.shape[0] for convolution in convolutions)
    growth = {"tutorial_net": 16 / 6, "simple_nn": 2, "cnn2": 2, "cnn3": 4, "resnet18": 8, "resnet20": 4}
    assert widest == round(width * growth[model])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_is_the_one_asked_for_in_every_place(model: str, activation: str) -> None:
    net = build(model, activation=activation)
    known = tuple(part.resolve() for part in ACTIVATIONS.values())
    found = [module for module in net.modules() if isinstance(module, known)]
    assert [type(module) for module in found] == [ACTIVATIONS[activation].resolve()] * ACTIVATION_PLACES[model]
    assert net(torch.randn(2, *CIFAR)).isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_negative_slope_reaches_the_layers(model: str) -> None:
    slopes = [
        m.negative_slope for m in modules(build(model, activation="leaky_relu", negative_slope=0.3), nn.LeakyReLU)
    ]
    assert slopes == [0.3] * ACTIVATION_PLACES[model]


@pytest.mark.parametrize("model", MODELS)
def test_dropout_stands_before_every_linear_layer(model: str) -> None:
    layers = list(build(model, dropout=0.25).modules())
    before = [layers[index - 1] for index, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    assert before
    assert all(isinstance(layer, nn.Dropout) and layer.p == 0.25 for layer in before)
    assert sum(isinstance(layer, nn.Dropout) for layer in layers) == len(before)


@pytest.mark.parametrize("model", MODELS)
def test_loss_depends_on_every_parameter(model: str) -> None:
    torch.manual_seed(0)
    net = build(model, activation="elu")
    net(torch.randn(4, *CIFAR)).square().sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize(("model", "pools"), [("tutorial_net", 2), ("simple_nn", 2), ("cnn2", 2), ("cnn3", 3)])
def test_small_nets_pool_by_the_maximum(model: str, pools: int) -> None:
    layers = modules(build(model), nn.MaxPool2d)
    assert [layer.kernel_size for layer in layers] == [2] * pools


@pytest.mark.parametrize("model", ["resnet18", "resnet20"])
def test_residual_nets_start_from_he_initialisation(model: str) -> None:
    torch.manual_seed(0)
    for convolution in modules(build(model, width=32), nn.Conv2d)[1:]:
        outputs, _, height, width = convolution.weight.shape
        spread = (2 / (outputs * height * width)) ** 0.5
        assert convolution.weight.std().item() == pytest.approx(spread, rel=0.1)


def test_tutorial_net_layer_by_layer() -> None:
    net = build_model(complete({"model": "tutorial_net"}), CIFAR, 10)
    assert [tuple(weight.shape) for weight in net.parameters() if weight.dim() > 1] == [
        (6, 3, 5, 5),
        (16, 6, 5, 5),
        (120, 400),
        (84, 120),
        (10, 84),
    ]


def test_simple_nn_layer_by_layer() -> None:
    """The counts that report D prints."""
    net = build_model(complete({"model": "simple_nn"}), CIFAR, 10)
    counts = [count_parameters(layer) for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert counts == [600, 1152, 69240, 10164, 850]


@pytest.mark.parametrize(("model", "hidden"), [("cnn2", 128), ("cnn3", 256)])
def test_linear_layers_of_the_own_cnns(model: str, hidden: int) -> None:
    """As in report A: 128-128-10 and 256-256-10."""
    net = build_model(complete({"model": model}), CIFAR, 10)
    assert [layer.weight.shape[0] for layer in modules(net, nn.Linear)] == [hidden, hidden, 10]


def test_resnet18_computes_what_torchvisions_does() -> None:
    ours = build_model(complete({"model": "resnet18"}), CIFAR, 10).eval()
    theirs = resnet18(num_classes=10).eval()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(2, *CIFAR)
    torch.testing.assert_close(ours(images), theirs(images))


def test_padded_shortcut_keeps_every_second_pixel_and_appends_zeros() -> None:
    features = torch.randn(2, 4, 5, 5)
    shortcut = PaddedShortcut(4, 8, stride=2)(features)
    assert shortcut.shape == (2, 8, 3, 3)
    assert shortcut[:, :4].equal(features[:, :, ::2, ::2])
    assert not shortcut[:, 4:].any()


def test_every_prelu_learns_a_slope_of_its_own() -> None:
    slopes = modules(build("resnet20", activation="prelu"), nn.PReLU)
    assert len({id(slope.weight) for slope in slopes}) == len(slopes)
