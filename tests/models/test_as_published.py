"""Models have the layers and parameters of their papers, and compute what torchvision's do."""

import re

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.models.densenet import DenseNet
from cifar_tune.models.resnet import ResNet
from cifar_tune.models.vgg import VGG
from tests.exhaustive import few_of

from .every_model import CIFAR, IMAGENET, OURS, PUBLISHED_PARAMETERS, WITH_STEM, as_published, modules, shapes


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


def test_a_plain_net_saves_the_projections() -> None:
    assert count_parameters(as_published("resnet20", residual=False)) == PUBLISHED_PARAMETERS["resnet20"]
    convolutions = 64 * 128 + 128 * 256 + 256 * 512
    assert count_parameters(as_published("resnet18", residual=False)) == (
        PUBLISHED_PARAMETERS["resnet18"] - convolutions - 2 * (128 + 256 + 512)
    )


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
