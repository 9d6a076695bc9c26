"""The losses that training minimises. A new one is one entry here.

A loss is a function of logits (N, classes) and targets that returns their mean, a scalar. Validation always tells the
plain cross entropy, whatever is minimised, so that trials can be compared. A loss that takes the knob `class_weights`
gets the weight of each class, float32 (classes,), or None; the mean is over the images, not over their weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class LossPart(Part):
    """A loss.

    Attributes:
        soft_labels: whether it takes a probability per class (N, classes) as well as one class per image (N,).
    """

    soft_labels: bool = True


_BUILT_IN: Mapping[str, LossPart] = {
    "cross_entropy": LossPart(
        "cifar_tune.training.losses:cross_entropy",
        "the negative logarithm of the right class's probability",
        arguments={"label_smoothing": "label_smoothing", "class_weights": "class_weights"},
    ),
    "focal": LossPart(
        "cifar_tune.training.losses:focal",
        "cross entropy times (1 - probability) ** focal_gamma: less weight on what is right already (Lin et al. 2017)",
        arguments={"focal_gamma": "gamma", "class_weights": "class_weights"},
    ),
    "multi_margin": LossPart(
        "cifar_tune.training.losses:multi_margin",
        "hinge loss: how far other logits come within margin of the right one (Crammer and Singer 2001)",
        arguments={"margin": "margin", "class_weights": "class_weights"},
        soft_labels=False,
    ),
    "mse": LossPart(
        "cifar_tune.training.losses:squared_error",
        "squared error between logits and one-hot labels (Hui and Belkin 2021)",
        arguments={"class_weights": "class_weights"},
    ),
}

LOSSES: Mapping[str, LossPart] = MappingProxyType(_BUILT_IN)
