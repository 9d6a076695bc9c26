"""From the norm knob to what makes the modules."""

from collections.abc import Callable
from functools import partial

from torch import nn

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.norms import NO_NORM

NormFactory = Callable[[int], nn.Module]
"""Makes the norm of that many channels."""


def norm_factory(config: Configuration) -> NormFactory | None:
    """Return what makes the configuration's norms; None where it has none."""
    if config.text("norm") == NO_NORM:
        return None
    part = config.part("norm")
    return partial(part.resolve(), **part.arguments_from(config))


def group_norm(channels: int, *, num_groups: int) -> nn.GroupNorm:
    """`torch.nn.GroupNorm`, called as the other norms are: channels first."""
    return nn.GroupNorm(num_groups, channels)


def normalized(channels: int, norm: NormFactory | None) -> list[nn.Module]:
    """The norm of a layer with that many channels: one module, or none at all."""
    return [] if norm is None else [norm(channels)]


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Modules that normalize by the batch, and keep running statistics; those of timm derive from them."""

NORM_LAYERS = (
    *BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm,
)  # fmt: skip
"""Modules that normalize, with a scale `weight` and a shift `bias` of their own; those of timm derive from them."""


def fix_scale(model: nn.Module) -> None:
    """Turn the learned scale of every norm into a constant, 1 as it begins; what is learned is the shift."""
    for module in model.modules():
        if isinstance(module, NORM_LAYERS) and module.weight is not None:
            scale = module.weight.detach()
            del module.weight
            module.register_buffer("weight", scale)


def norm_biases(model: nn.Module) -> list[nn.Parameter]:
    """The shifts of all norms."""
    biases = [module.bias for module in model.modules() if isinstance(module, NORM_LAYERS)]
    return [bias for bias in biases if isinstance(bias, nn.Parameter)]
