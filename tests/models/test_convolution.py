"""Strided 1x1 convolutions with few input channels, whatever model they are in."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from cifar_tune.knobs.configuration import complete
from cifar_tune.models.build import build_model
from cifar_tune.models.layers import NARROW, skip_pixels_first


@pytest.mark.parametrize("inputs", [1, 3, NARROW - 1, NARROW])
@pytest.mark.parametrize("stride", [1, 2, (2, 1), (1, 3)])
def test_it_is_the_convolution_that_it_was(inputs: int, stride: int | tuple[int, int]) -> None:
    torch.manual_seed(0)
    before = nn.Conv2d(inputs, 2 * inputs, 1, stride=stride)
    layer = deepcopy(before)
    skip_pixels_first(layer)
    skip_pixels_first(layer)  # changes nothing any more
    images = torch.randn(4, inputs, 16, 15).requires_grad_()
    exact = images.detach().double().requires_grad_()  # float64: oneDNN has no part in it
    theirs = before.double()(exact)
    outputs = deepcopy(layer)(images)
    assert torch.allclose(outputs.double(), theirs, atol=1e-5)
    assert torch.allclose(layer(input=images), outputs, atol=1e-5)
    assert torch.allclose(layer(images[0]), outputs[0], atol=1e-5)
    outputs.square().sum().backward()
    theirs.square().sum().backward()
    assert images.grad is not None
    assert exact.grad is not None
    assert torch.allclose(images.grad.double(), exact.grad, atol=1e-4)
    assert (layer.stride == (1, 1)) is (inputs < NARROW or stride == 1)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, 3, stride=2),
        nn.Conv2d(4, 8, 1, stride=2, padding=1),
        nn.Conv2d(4, 8, 1, stride=2, groups=2),
        nn.Conv2d(NARROW, 8, 1, stride=2),
    ],
    ids=str,
)
def test_others_stay(layer: nn.Conv2d) -> None:
    skip_pixels_first(layer)
    assert layer.stride == (2, 2)


def test_a_model_keeps_its_weights_and_their_names() -> None:
    model = build_model(complete({"model": "resnet18", "width": 4}), (3, 32, 32), 10)
    narrow = [each for each in model.modules() if isinstance(each, nn.Conv2d) and each.kernel_size == (1, 1)]
    assert [each.in_channels for each in narrow] == [4, 8, 16]
    assert [each.stride for each in narrow] == [(1, 1), (2, 2), (2, 2)]
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


class Scaled(nn.Conv2d):
    """As models of timm have them: a convolution that does something to its weights."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.conv2d(images, self.weight * 2, self.bias, self.stride, self.padding)


def test_kinds_of_convolutions_of_their_own_are_changed_too() -> None:
    layer = Scaled(4, 8, 1, stride=2)
    images = torch.randn(2, 4, 8, 8)
    before = layer.double()(images.double())
    layer.float()
    skip_pixels_first(layer)
    assert torch.allclose(layer(images).double(), before, atol=1e-5)
    assert layer.stride == (1, 1)


TRAINING = """
import torch
from torch import nn

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.models import ModelPart
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.models.build import build_model
from tests.models.test_convolution import Scaled

torch.set_num_threads(1)

def net(kind):
    def build(image_shape, classes):
        return nn.Sequential(
            kind(3, 4, 1, stride=2), nn.ReLU(), kind(4, 7, 1, stride=(1, 2)), nn.ReLU(), kind(7, 8, 1, stride=(2, 1)),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
        )
    return build

models = {"own": ModelPart(net(nn.Conv2d), "plain"), "scaled": ModelPart(net(Scaled), "of its own kind")}
vocabulary = vocabulary_with([Plugin("nets.py", "", {"model": models}, {})])
ours = [{"model": name, "width": 4} for name in ("resnet18", "resnet50")]
for chosen in ({"model": "own"}, {"model": "scaled"}, *ours):
    config = complete(chosen, vocabulary)
    model = build_model(config, (3, 32, 32), 10).to(memory_format=torch.channels_last)
    for step in range(60 if "width" not in chosen else 4):
        images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
        model(images).sum().backward()
        assert torch.isfinite(images.grad).all()
    print(chosen["model"], flush=True)
"""


def test_every_model_trains_without_a_crash() -> None:
    """Where oneDNN computes them, it crashes within a few steps on processors with AVX2 alone."""
    ran = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split()) == (0, ["own", "scaled", "resnet18", "resnet50"]), ran.stderr
