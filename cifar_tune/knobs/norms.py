"""What a convolution's outputs are normalized by. A new one is one entry here."""

from collections.abc import Mapping
from types import MappingProxyType

from cifar_tune.knobs.part import Part

NO_NORM = "none"

_BUILT_IN: Mapping[str, Part] = {
    "batch": Part(
        "torch.nn:BatchNorm2d",
        "batch norm: per channel over the batch (Ioffe and Szegedy 2015)",
        arguments={"bn_momentum": "momentum"},
    ),
    "group": Part(
        "cifar_tune.models.layers:group_norm",
        "group norm: per image over groups of channels, whatever the batch size (Wu and He 2018)",
        arguments={"norm_groups": "num_groups"},
    ),
    NO_NORM: Part("torch.nn:Identity", "no norm; the convolutions have a bias instead"),
}

NORMS: Mapping[str, Part] = MappingProxyType(_BUILT_IN)
