"""Every registered model: images of any size become logits, and each knob reaches the layers.

The deep ones are built on the meta device alone.
"""

import pytest
import torch
from torch import nn

from cifar_tune.errors import UserError
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.models import MODELS
from cifar_tune.models.build import build_model
from cifar_tune.models.densenet import DenseBlock
from cifar_tune.models.resnet import ResidualBlock
from tests.exhaustive import few_of

from .every_model import ACTIVATION_PLACES, CIFAR, DEEP, DEEPEST, OURS, SHALLOW, SMALLEST_IMAGE, build, config, modules


def test_every_model_of_ours_is_tested() -> None:
    assert [model for model in MODELS if model != "timm"] == list(OURS)


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize(("size", "classes"), [(32, 10), (33, 2), (47, 100)])
def test_one_logit_per_image_and_class(model: str, size: int, classes: int) -> None:
    net = build_model(config(model), (3, size, size), classes)
    assert net(torch.zeros(2, 3, size, size)).shape == (2, classes)


@pytest.mark.parametrize("model", few_of(DEEP, [model for model in DEEP if model not in DEEPEST]))
def test_deep_models_give_logits_and_pass_gradients_to_every_parameter(model: str) -> None:
    with torch.device("meta"):
        net = build_model(config(model, activation="prelu"), (3, 33, 35), 7)
        logits = net(torch.zeros(2, 3, 33, 35))
    logits.sum().backward()
    assert logits.shape == (2, 7)
    assert len(modules(net, nn.PReLU)) == ACTIVATION_PLACES[model]
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("model", SHALLOW)
def test_smallest_image(model: str) -> None:
    smallest = SMALLEST_IMAGE[model]
    net = build_model(config(model), (3, smallest, smallest), 10).eval()
    assert net(torch.zeros(2, 3, smallest, smallest)).shape == (2, 10)
    if smallest > 1:
        with pytest.raises(UserError, match=rf"{model} needs images of at least {smallest}x{smallest}"):
            build_model(config(model), (3, smallest - 1, smallest - 1), 10)


def test_smallest_image_behind_the_imagenet_stem() -> None:
    dense = config("densenet121", stem="imagenet")
    assert build_model(dense, (3, 29, 29), 10).eval()(torch.zeros(1, 3, 29, 29)).shape == (1, 10)
    with pytest.raises(UserError, match="densenet121 with the stem imagenet needs images of at least 29x29"):
        build_model(dense, (3, 29, 28), 10)
    residual = config("resnet18", stem="imagenet")
    assert build_model(residual, (3, 1, 1), 10).eval()(torch.zeros(1, 3, 1, 1)).shape == (1, 10)


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize("width", [1, 5, 12])
def test_width_is_the_channels_of_the_first_stage(model: str, width: int) -> None:
    with torch.device("meta"):
        convolutions = modules(build(model, width=width), nn.Conv2d)
    assert convolutions[0].weight.shape[:2] == (width, 24 if model == "airbench_net" else 3)
    widest = max(convolution.weight.shape[0] for convolution in convolutions)
    growth = {
        "tutorial_net": 16 / 6, "simple_nn": 2, "cnn2": 2, "cnn3": 4, "vgg11": 8, "resnet18": 8, "resnet50": 32,
        "resnet20": 4, "airbench_net": 4,
    }  # fmt: skip
    if model in growth:
        assert widest == round(width * growth[model])


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize("activation", few_of(ACTIVATIONS, ["relu", "prelu"]))
def test_activation_is_the_one_asked_for_in_every_place(model: str, activation: str) -> None:
    net = build(model, activation=activation)
    known = tuple(part.resolve() for part in ACTIVATIONS.values())
    found = [module for module in net.modules() if isinstance(module, known)]
    assert [type(module) for module in found] == [ACTIVATIONS[activation].resolve()] * ACTIVATION_PLACES[model]
    assert net(torch.randn(2, *CIFAR)).isfinite().all()


@pytest.mark.parametrize("model", SHALLOW)
def test_negative_slope_reaches_the_layers(model: str) -> None:
    slopes = [
        m.negative_slope for m in modules(build(model, activation="leaky_relu", negative_slope=0.3), nn.LeakyReLU)
    ]
    assert slopes == [0.3] * ACTIVATION_PLACES[model]


@pytest.mark.parametrize("model", SHALLOW)
def test_dropout_stands_before_every_linear_layer(model: str) -> None:
    layers = list(build(model, dropout=0.25).modules())
    before = [layers[index - 1] for index, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    assert before
    assert all(isinstance(layer, nn.Dropout) and layer.p == 0.25 for layer in before)
    assert sum(isinstance(layer, nn.Dropout) for layer in layers) == len(before)


@pytest.mark.parametrize("model", ["resnet18", "densenet121"])
@pytest.mark.parametrize(("stem", "side", "kernel"), [("cifar", 32, 3), ("imagenet", 8, 7)])
def test_stem_decides_how_large_the_image_stays(model: str, stem: str, side: int, kernel: int) -> None:
    net = build(model, stem=stem)
    seen: list[tuple[int, ...]] = []
    first = next(module for module in net.modules() if isinstance(module, ResidualBlock | DenseBlock))
    first.register_forward_pre_hook(lambda _block, inputs: seen.append(tuple(inputs[0].shape)))
    net(torch.randn(2, *CIFAR))
    assert seen == [(2, 8, side, side)]
    assert modules(net, nn.Conv2d)[0].kernel_size == (kernel, kernel)


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_loss_depends_on_every_parameter(model: str, norm: str) -> None:
    torch.manual_seed(0)
    net = build(model, activation="elu", norm=norm, zero_init_residual=False)
    net(torch.randn(4, *CIFAR)).square().sum().backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize(("model", "pools"), [("tutorial_net", 2), ("simple_nn", 2), ("cnn2", 2), ("cnn3", 3)])
def test_small_nets_pool_by_the_maximum(model: str, pools: int) -> None:
    layers = modules(build(model), nn.MaxPool2d)
    assert [layer.kernel_size for layer in layers] == [2] * pools


@pytest.mark.parametrize("model", ["resnet18", "resnet20", "vgg11"])
def test_deep_nets_start_from_he_initialisation(model: str) -> None:
    torch.manual_seed(0)
    for convolution in modules(build(model, width=32), nn.Conv2d)[1:]:
        outputs, _, height, width = convolution.weight.shape
        spread = (2 / (outputs * height * width)) ** 0.5
        assert convolution.weight.std().item() == pytest.approx(spread, rel=0.1)


def test_every_prelu_learns_a_slope_of_its_own() -> None:
    slopes = modules(build("resnet20", activation="prelu"), nn.PReLU)
    assert len({id(slope.weight) for slope in slopes}) == len(slopes)
