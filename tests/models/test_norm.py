"""Norms: the kind that is asked for, with its knobs, in every place."""

from math import gcd

import pytest
import torch
from torch import nn

from cifar_tune.knobs.models import MODELS

from .every_model import CIFAR, NORM_PLACES, OURS, SHALLOW, build, modules, norms


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
