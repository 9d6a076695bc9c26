"""From the activation knob to what makes the modules."""

from collections.abc import Callable
from functools import partial

from torch import nn

from cifar_tune.knobs.configuration import Configuration

ActivationFactory = Callable[[], nn.Module]
"""Makes a new activation module at each call: each place of a net has its own, as PReLU learns a slope."""


def activation_factory(config: Configuration) -> ActivationFactory:
    """Return what makes the configuration's activation."""
    part = config.part("activation")
    return partial(part.resolve(), **part.arguments_from(config))
