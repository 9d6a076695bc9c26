"""From a configuration to its optimizer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.optimizers import OPTIMIZERS

DEVICES_WITH_FUSED = frozenset({"cpu", "cuda"})
"""Where torch's fused optimizers are used. It has them on MPS too, but never measured here; meta tensors have none."""


def build_optimizer(config: Configuration, model: nn.Module, device: torch.device) -> Optimizer:
    """Return the configuration's optimizer over all parameters of `model`, which lies on `device`.

    One parameter group, and a second one where biases and norms are spared the weight decay; a registry entry that
    asks for the fused implementation gets torch's default one where the device has none.
    """
    part = OPTIMIZERS[config.text("optimizer")]
    arguments = part.arguments_from(config)
    if device.type not in DEVICES_WITH_FUSED:
        arguments.pop("fused", None)
    optimizer: Optimizer = part.resolve()(_groups(config, model), **arguments)
    return optimizer


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take over what `optimizer.state_dict` returned for the same configuration: it goes on in these very tensors."""
    optimizer.load_state_dict(dict(state))
    for moments in optimizer.state.values():
        # NAdam reads this product in every step and keeps it on the CPU; loading moves it to the device of the weight.
        if "mu_product" in moments:
            moments["mu_product"] = moments["mu_product"].cpu()


def decayed_parameters(config: Configuration, model: nn.Module) -> list[nn.Parameter]:
    """The parameters that weight decay and an L1 penalty act on: all, or only filters and matrices."""
    everything = config.flag("decay_norm_and_bias")
    return [weight for weight in model.parameters() if everything or weight.dim() > 1]


def _groups(config: Configuration, model: nn.Module) -> list[dict[str, Any]]:
    decayed = decayed_parameters(config, model)
    known = {id(weight) for weight in decayed}
    spared = [weight for weight in model.parameters() if id(weight) not in known]
    return [{"params": decayed}, *([{"params": spared, "weight_decay": 0.0}] if spared else [])]
