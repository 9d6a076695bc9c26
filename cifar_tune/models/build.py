"""Builds a model from a configuration, and counts its parameters and its work."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.models import MODELS
from cifar_tune.models.layers import ImageShape, activation_factory, norm_factory, skip_pixels_first
from cifar_tune.models.uncompiled import leave_compiler_out


class FittedModel(Protocol):
    """A model with weights that are computed from training images and not learned.

    Its registry entry says from how many (`ModelPart.fitted_images`). Until `fit` was called they are random, which is
    enough for counting, timing and loading a state.
    """

    def fit(self, images: Tensor) -> None:
        """Compute these weights, in place.

        Args:
            images: float32 (N, 3, H, W) on the CPU, normalised but not augmented.
        """
        ...


@runtime_checkable
class FollowsEpochs(Protocol):
    """A model that changes with the number of the epoch, and with nothing else."""

    def begin_epoch(self, epoch: int) -> None:
        """Make ready for an epoch.

        Args:
            epoch: counted from 1.
        """
        ...


FLOPS_PER_MULTIPLY_ADD = 2
"""As torch counts them: a multiplication and an addition."""

_WITH_REAL_NUMBERS = "timm"


def count_multiply_adds(config: Configuration, image_shape: ImageShape, classes: int) -> int:
    """Multiply-adds of the forward pass of one image (3, H, W), as papers give them for networks.

    Counted are convolutions, matrix products and attention, one for each product that is summed up; not biases, norms,
    activations, pooling and additions.

    Raises:
        UserError: the images are too small for the model.
    """
    return multiply_adds_of(build_to_be_counted(config, image_shape, classes), image_shape)


def multiply_adds_of(model: nn.Module, image_shape: ImageShape) -> int:
    """The same of a model that was built to be counted."""
    leave_compiler_out()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(one_image(model, image_shape))
    return int(counter.get_total_flops()) // FLOPS_PER_MULTIPLY_ADD


def build_to_be_counted(config: Configuration, image_shape: ImageShape, classes: int) -> nn.Module:
    """The configuration's model in evaluation mode, on torch's meta device, where nothing is computed or kept.

    Models of timm and of plugins may need real numbers to be built or called, and are on the CPU. Torch's default
    generator is left as it was.

    Raises:
        UserError: the images are too small for the model.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta" if can_be_counted_without_memory(config) else "cpu"):
        return build_model(config, image_shape, classes).eval()


def can_be_counted_without_memory(config: Configuration) -> bool:
    """Whether `build_to_be_counted` builds the model on torch's meta device."""
    name = config.text("model")
    return name in MODELS and name != _WITH_REAL_NUMBERS


def one_image(model: nn.Module, image_shape: ImageShape) -> Tensor:
    """An image (1, 3, H, W), float32, on the model's device."""
    weight = next(model.parameters(), None)
    return torch.zeros(1, *image_shape, device="cpu" if weight is None else weight.device)


def build_model(config: Configuration, image_shape: ImageShape, classes: int) -> nn.Module:
    """Return the configuration's model on the CPU in float32, initialised from torch's default generator.

    The model maps images (N, 3, H, W) to logits (N, classes).

    Raises:
        UserError: the images are too small for the model, or timm has no such model.
    """
    part = config.part("model")
    arguments = part.arguments_from(config)
    if "activation" in part.arguments:
        arguments[part.arguments["activation"]] = activation_factory(config)
    if "norm" in part.arguments:
        arguments[part.arguments["norm"]] = norm_factory(config)
    model: nn.Module = part.resolve()(image_shape, classes, **arguments)
    skip_pixels_first(model)
    return model


def count_parameters(model: nn.Module) -> int:
    """Learned parameters; running statistics of batch norms are not among them."""
    return sum(parameter.numel() for parameter in model.parameters())
