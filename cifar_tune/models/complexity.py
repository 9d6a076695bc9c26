"""How much work a model's forward pass is."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.models import MODELS
from cifar_tune.models.build import build_model
from cifar_tune.models.image_size import ImageShape

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
    name = config.text("model")
    on_meta = name in MODELS and name != _WITH_REAL_NUMBERS
    with torch.random.fork_rng(devices=[]), torch.device("meta" if on_meta else "cpu"):
        return build_model(config, image_shape, classes).eval()


def one_image(model: nn.Module, image_shape: ImageShape) -> Tensor:
    """An image (1, 3, H, W), float32, on the model's device."""
    weight = next(model.parameters(), None)
    return torch.zeros(1, *image_shape, device="cpu" if weight is None else weight.device)
