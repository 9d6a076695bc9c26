"""Convolutions."""

import pytest
import torch
from torch import nn

from cifar_tune.models.layers import NARROW, convolution


@pytest.mark.parametrize("inputs", [1, 3, NARROW - 1, NARROW])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_narrow_shortcut_is_the_convolution_that_it_stands_for(inputs: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = convolution(inputs, 2 * inputs, 1, None, stride=stride)[0]
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    images = torch.randn(4, inputs, 16, 16).requires_grad_()
    exact = images.detach().double().requires_grad_()  # float64: oneDNN has no part in it
    theirs = nn.functional.conv2d(exact, layer.weight.double(), stride=stride, bias=layer.bias.double())
    outputs = layer(images)
    assert torch.allclose(outputs.double(), theirs, atol=1e-5)
    outputs.square().sum().backward()
    theirs.square().sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert exact.grad is not None
    assert torch.allclose(images.grad.double(), exact.grad, atol=1e-4)


def test_narrow_shortcuts_train_without_a_crash() -> None:
    """Where oneDNN computes them, it crashes within a few steps on processors with AVX2 alone."""
    layer = convolution(4, 8, 1, None, stride=2)[0].to(memory_format=torch.channels_last)
    for _ in range(60):
        images = torch.randn(4, 4, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
        layer(images).sum().backward()
        assert images.grad is not None
        assert torch.isfinite(images.grad).all()
