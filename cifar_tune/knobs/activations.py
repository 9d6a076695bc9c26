"""The activations. A new one is one entry here."""

from collections.abc import Mapping
from types import MappingProxyType

from cifar_tune.knobs.part import Part

_INPLACE = {"inplace": True}

_BUILT_IN: Mapping[str, Part] = {
    "relu": Part("torch.nn:ReLU", "max(0, x)", constants=_INPLACE),
    "leaky_relu": Part(
        "torch.nn:LeakyReLU",
        "x, or negative_slope * x below zero",
        arguments={"negative_slope": "negative_slope"},
        constants=_INPLACE,
    ),
    "elu": Part("torch.nn:ELU", "exponential linear unit", constants=_INPLACE),
    "silu": Part("torch.nn:SiLU", "x * sigmoid(x), also called swish", constants=_INPLACE),
    "gelu": Part("torch.nn:GELU", "Gaussian error linear unit"),
    "mish": Part("torch.nn:Mish", "x * tanh(softplus(x))", constants=_INPLACE),
    "hardswish": Part("torch.nn:Hardswish", "piecewise linear swish", constants=_INPLACE),
    "selu": Part("torch.nn:SELU", "scaled ELU", constants=_INPLACE),
    "prelu": Part("torch.nn:PReLU", "leaky ReLU with a learned slope"),
    "tanh": Part("torch.nn:Tanh", "hyperbolic tangent"),
    "sigmoid": Part("torch.nn:Sigmoid", "logistic function"),
}

ACTIVATIONS: Mapping[str, Part] = MappingProxyType(_BUILT_IN)
