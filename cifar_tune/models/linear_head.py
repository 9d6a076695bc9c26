"""The linear layers at the end of a net."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from cifar_tune.models.activation import ActivationFactory


class LinearHead(nn.Sequential):
    """Flatten, then linear layers with the activation between them and dropout before each.

    Args:
        sizes: features of the flattened input, units of each hidden layer, and classes.
        activation: makes the module that follows each linear layer but the last.
        dropout: share of the features dropped before each linear layer.
    """

    def __init__(self, sizes: Sequence[int], activation: ActivationFactory, dropout: float) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Dropout(dropout), nn.Linear(inputs, outputs), activation()]
        super().__init__(*layers[:-1])
