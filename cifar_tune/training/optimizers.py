"""From a configuration to its optimizer."""

import torch
from torch import nn
from torch.optim import Optimizer

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.optimizers import OPTIMIZERS

DEVICES_WITH_FUSED = frozenset({"cpu", "cuda"})
"""Where torch's fused optimizers are used. It has them on MPS too, but never measured here; meta tensors have none."""


def build_optimizer(config: Configuration, model: nn.Module, device: torch.device) -> Optimizer:
    """Return the configuration's optimizer over all parameters of `model`, which lies on `device`.

    One parameter group; a registry entry that asks for the fused implementation gets torch's default one where the
    device has none.
    """
    part = OPTIMIZERS[config.text("optimizer")]
    arguments = part.arguments_from(config)
    if device.type not in DEVICES_WITH_FUSED:
        arguments.pop("fused", None)
    optimizer: Optimizer = part.resolve()(model.parameters(), **arguments)
    return optimizer
