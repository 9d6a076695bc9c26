"""How much work a model's forward pass is, without doing it."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import build_model
from cifar_tune.models.image_size import ImageShape

_OPERATIONS_PER_MULTIPLY_ADD = 2


def count_multiply_adds(config: Configuration, image_shape: ImageShape, classes: int) -> int:
    """Multiply-adds of the forward pass of one image (3, H, W), as papers give them for networks.

    Counted are convolutions, matrix products and attention, one for each product that is summed up; not biases, norms,
    activations, pooling and additions. Torch's counter sees shapes alone: on its meta device nothing is computed.

    Raises:
        UserError: the images are too small for the model.
    """
    with torch.device("meta"):
        model = build_model(config, image_shape, classes).eval()
        image = torch.empty(1, *image_shape)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops()) // _OPERATIONS_PER_MULTIPLY_ADD
