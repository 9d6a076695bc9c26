"""Every registered model, with every knob that it takes. The deep ones are built on the meta device alone."""

import re
from collections.abc import Mapping
from math import gcd
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from cifar_tune.errors import UserError
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.models.densenet import DenseBlock, DenseNet
from cifar_tune.models.resnet import PaddedShortcut, ResidualBlock, ResNet
from cifar_tune.models.vgg import VGG
from tests.exhaustive import few_of

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


@pytest.mark.parametrize("model", OURS)
def test_parameters_as_published(model: str) -> None:
    assert count_parameters(as_published(model)) == PUBLISHED_PARAMETERS[model]


@pytest.mark.parametrize("model", OURS)
def test_description_tells_the_parameters(model: str) -> None:
    (count,) = re.findall(r"([\d,]+) parameters", MODELS[model].meaning)
    assert int(count.replace(",", "")) == PUBLISHED_PARAMETERS[model]


@pytest.mark.parametrize("model", ["vgg11", "vgg19"])
def test_description_tells_the_parameters_without_norm(model: str) -> None:
    (count,) = re.findall(r"\(([\d,]+) without norm\)", MODELS[model].meaning)
    assert int(count.replace(",", "")) == count_parameters(as_published(model, norm="none"))


@pytest.mark.parametrize("model", few_of(WITH_STEM, ["resnet18", "resnet50", "densenet121"]))
def test_the_imagenet_stem_makes_torchvisions_layers(model: str) -> None:
    with torch.device("meta"):
        ours = build_model(complete({"model": model, "stem": "imagenet"}), IMAGENET, 1000)
        theirs = getattr(torchvision_models, model)()
    assert count_parameters(ours) == count_parameters(theirs)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("model", ["vgg11", "vgg19"])
@pytest.mark.parametrize(("norm", "suffix"), [("none", ""), ("batch", "_bn")])
def test_the_convolutions_of_vgg_are_torchvisions(model: str, norm: str, suffix: str) -> None:
    ours = as_published(model, norm=norm)
    assert isinstance(ours, VGG)
    with torch.device("meta"):
        theirs = getattr(torchvision_models, model + suffix)().features
    assert count_parameters(ours.features) == count_parameters(theirs)
    assert shapes(ours.features) == shapes(theirs)
    assert [tuple(layer.weight.shape) for layer in modules(ours, nn.Linear)] == [(512, 512), (512, 512), (10, 512)]


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


@pytest.mark.parametrize(("width", "growth"), [(1, 1), (7, 4), (8, 4), (64, 32)])
def test_a_dense_layer_adds_half_the_width(width: int, growth: int) -> None:
    with torch.device("meta"):
        net = build("densenet121", width=width)
    layers = [layer for block in modules(net, DenseBlock) for layer in block]
    assert len(layers) == 6 + 12 + 24 + 16
    assert {modules(layer, nn.Conv2d)[-1].weight.shape[0] for layer in layers} == {growth}


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


NORM_CLASSES = (nn.BatchNorm2d, nn.GroupNorm)


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, NORM_CLASSES)]


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("none", None)])
def test_norm_is_the_one_asked_for_in_every_place(model: str, norm: str, kind: type[nn.Module] | None) -> None:
    net = build(model, width=12, norm=norm, norm_groups=2)
    assert [type(module) for module in norms(net)] == ([kind] * NORM_PLACES[model] if kind else [])
    assert not modules(net, nn.BatchNorm2d) or norm == "batch"
    assert net(torch.randn(2, *CIFAR)).isfinite().all()


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_convolution_has_a_bias_where_no_norm_does_its_work(model: str, norm: str) -> None:
    with torch.device("meta"):
        net = build(model, width=12, norm=norm, norm_groups=2)
    with_bias = {convolution.bias is not None for convolution in modules(net, nn.Conv2d)}
    always = {"vgg11": True, "simple_nn": False}
    assert with_bias == {always.get(model, norm == "none")}


@pytest.mark.parametrize("model", SHALLOW)
def test_a_model_has_its_norm_by_default(model: str) -> None:
    with torch.device("meta"):
        net = build(model)
    assert bool(norms(net)) == (model not in ("tutorial_net", "simple_nn"))


@pytest.mark.parametrize("model", SHALLOW)
@pytest.mark.parametrize("groups", [1, 4])
def test_norm_groups_reach_the_layers(model: str, groups: int) -> None:
    net = build(model, width=24, norm="group", norm_groups=groups)
    assert [layer.num_groups for layer in modules(net, nn.GroupNorm)] == [groups] * NORM_PLACES[model]


@pytest.mark.parametrize("model", SHALLOW)
def test_bn_momentum_reaches_the_layers(model: str) -> None:
    layers = modules(build(model, norm="batch", bn_momentum=0.4), nn.BatchNorm2d)
    assert [layer.momentum for layer in layers] == [0.4] * NORM_PLACES[model]


def normalized_channels(model: str, width: int) -> list[int]:
    with torch.device("meta"):
        return [layer.num_features for layer in modules(build(model, width=width, norm="batch"), nn.BatchNorm2d)]


@pytest.mark.parametrize("model", OURS)
def test_width_unit_tells_which_groups_divide_every_normalized_layer(model: str) -> None:
    for width in (5, 8, 12, 24) if model in SHALLOW else (12,):
        divisor = gcd(*normalized_channels(model, width))
        for groups in range(2, 25):
            fits = width % (groups * MODELS[model].width_unit) == 0
            assert (divisor % groups == 0) == fits, (width, groups)


@pytest.mark.parametrize("model", RESIDUAL)
@pytest.mark.parametrize("placement", ["every", "first"])
def test_norm_placement_reaches_the_blocks(model: str, placement: str) -> None:
    net = build(model, norm_placement=placement)
    for block in modules(net, ResidualBlock):
        convolutions = modules(block.residual, nn.Conv2d)
        expected = len(convolutions) if placement == "every" else 1
        assert len(norms(block.residual)) == expected
        assert [layer.bias is None for layer in convolutions] == [
            index < expected for index in range(len(convolutions))
        ]
        assert isinstance(block.residual[1], nn.BatchNorm2d)
        assert block.shortcut is not None
        assert len(norms(block.shortcut)) == len(modules(block.shortcut, nn.Conv2d)) * (placement == "every")
    assert net(torch.randn(2, *CIFAR)).isfinite().all()


@pytest.mark.parametrize("model", RESIDUAL)
@pytest.mark.parametrize(
    "chosen", [{}, {"norm": "group", "norm_groups": 2}, {"norm_placement": "first"}, {"norm": "none"}], ids=str
)
def test_zero_init_residual_lets_each_block_begin_as_its_shortcut(model: str, chosen: dict[str, Value]) -> None:
    """Also where no norm stands at the end of a block; and what begins at zero is learned."""
    features: list[Tensor] = []
    for zero in (True, False):
        net = build(model, zero_init_residual=zero, **chosen)
        for block in modules(net, ResidualBlock):
            block.residual.register_forward_hook(lambda _module, _inputs, output: features.append(output))
        net(torch.randn(4, *CIFAR)).logsumexp(1).sum().backward()
        assert all(bool(output.any()) != zero for output in features)
        features.clear()
        if zero:
            lasts = [list(block.residual.parameters()) for block in modules(net, ResidualBlock)]
            assert all(any(bool(weight.grad.any()) for weight in last if weight.grad is not None) for last in lasts)


@pytest.mark.parametrize("model", RESIDUAL)
def test_a_plain_net_never_begins_at_zero(model: str) -> None:
    """It would stay there: without shortcuts nothing comes through."""
    plain = build(model, residual=False, zero_init_residual=True).state_dict()
    expected = build(model, residual=False, zero_init_residual=False).state_dict()
    assert all(bool(tensor.any()) == bool(expected[name].any()) for name, tensor in plain.items())


@pytest.mark.parametrize("model", RESIDUAL)
@pytest.mark.parametrize("residual", [True, False])
def test_residual_is_whether_there_are_shortcuts(model: str, residual: bool) -> None:
    net = build(model, residual=residual).eval()
    block = modules(net, ResidualBlock)[0]
    features = torch.randn(2, modules(block, nn.Conv2d)[0].in_channels, 5, 5)
    changed = block.residual(features)
    if residual:
        assert block.shortcut is not None
        changed = changed + block.shortcut(features)
    torch.testing.assert_close(block(features), changed.relu())
    assert all((block.shortcut is not None) == residual for block in modules(net, ResidualBlock))
    assert net(torch.randn(2, *CIFAR)).shape == (2, 10)


def test_a_plain_net_saves_the_projections() -> None:
    assert count_parameters(as_published("resnet20", residual=False)) == PUBLISHED_PARAMETERS["resnet20"]
    convolutions = 64 * 128 + 128 * 256 + 256 * 512
    assert count_parameters(as_published("resnet18", residual=False)) == (
        PUBLISHED_PARAMETERS["resnet18"] - convolutions - 2 * (128 + 256 + 512)
    )


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
    theirs = torchvision_models.resnet18(num_classes=10).eval()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    assert_same_function(ours, theirs)


@pytest.mark.parametrize(
    ("bottleneck", "block"),
    [(False, torchvision_models.resnet.BasicBlock), (True, torchvision_models.resnet.Bottleneck)],
)
def test_residual_nets_compute_what_torchvisions_do(bottleneck: bool, block: type[nn.Module]) -> None:
    blocks = (1, 2, 1, 1)
    ours = ResNet(
        CIFAR, 10, width=64, activation=nn.ReLU, norm=nn.BatchNorm2d, norm_placement="every", residual=True, dropout=0,
        zero_init_residual=True,
        blocks=blocks, stem="imagenet", bottleneck=bottleneck,
    )  # fmt: skip
    assert_same_function(ours, torchvision_models.ResNet(block, list(blocks), num_classes=10))


def test_dense_nets_compute_what_torchvisions_do() -> None:
    blocks = (3, 2, 1, 2)
    ours = DenseNet(
        CIFAR, 10, name="", width=8, activation=nn.ReLU, norm=nn.BatchNorm2d, dropout=0, blocks=blocks, stem="imagenet"
    )
    assert_same_function(
        ours, torchvision_models.DenseNet(growth_rate=4, block_config=blocks, num_init_features=8, num_classes=10)
    )


@pytest.mark.parametrize(("norm", "batch_norm"), [("batch", True), ("none", False)])
def test_the_features_of_vgg_are_those_that_torchvision_computes(norm: str, batch_norm: bool) -> None:
    ours = build_model(complete({"model": "vgg11", "norm": norm}), CIFAR, 10)
    assert isinstance(ours, VGG)
    vgg = torchvision_models.vgg
    assert_same_function(ours.features, vgg.make_layers(vgg.cfgs["A"], batch_norm=batch_norm))


def assert_same_function(ours: nn.Module, theirs: nn.Module) -> None:
    """With the same weights, and running statistics that are not those of the beginning."""
    ours(torch.randn(4, *CIFAR))
    weights = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(weights))
    images = torch.randn(2, 3, 64, 64) if isinstance(ours, ResNet | DenseNet) else torch.randn(2, *CIFAR)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d])
def test_a_dense_block_hands_on_what_it_was_given(norm: type[nn.BatchNorm2d] | None) -> None:
    """Unchanged, though activations work in place."""
    block = DenseBlock(4, 2, 3, norm, lambda: nn.ReLU(inplace=True))
    features = torch.randn(2, 4, 5, 5)
    given: Tensor = features.clone()
    dense = block(features)
    assert dense.shape == (2, 4 + 3 * 2, 5, 5)
    assert dense[:, :4].equal(given)
    assert features.equal(given)


def test_padded_shortcut_keeps_every_second_pixel_and_appends_zeros() -> None:
    features = torch.randn(2, 4, 5, 5)
    shortcut = PaddedShortcut(4, 8, stride=2)(features)
    assert shortcut.shape == (2, 8, 3, 3)
    assert shortcut[:, :4].equal(features[:, :, ::2, ::2])
    assert not shortcut[:, 4:].any()


def test_every_prelu_learns_a_slope_of_its_own() -> None:
    slopes = modules(build("resnet20", activation="prelu"), nn.PReLU)
    assert len({id(slope.weight) for slope in slopes}) == len(slopes)
