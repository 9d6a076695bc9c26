"""Blocks of residual and dense nets: their shortcuts, where their norms stand, and how they begin."""

import pytest
import torch
from torch import Tensor, nn

from cifar_tune.knobs.part import Value
from cifar_tune.models.densenet import DenseBlock
from cifar_tune.models.resnet import PaddedShortcut, ResidualBlock

from .every_model import CIFAR, RESIDUAL, build, modules, norms


@pytest.mark.parametrize(("width", "growth"), [(1, 1), (7, 4), (8, 4), (64, 32)])
def test_a_dense_layer_adds_half_the_width(width: int, growth: int) -> None:
    with torch.device("meta"):
        net = build("densenet121", width=width)
    layers = [layer for block in modules(net, DenseBlock) for layer in block]
    assert len(layers) == 6 + 12 + 24 + 16
    assert {modules(layer, nn.Conv2d)[-1].weight.shape[0] for layer in layers} == {growth}


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
