"""A few steps of a configuration on random images: does it run, and how fast."""

import math
import time
from dataclasses import dataclass
from statistics import median

import torch

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import count_parameters
from cifar_tune.models.image_size import ImageShape
from cifar_tune.training.device import configure
from cifar_tune.training.learner import Learner
from cifar_tune.training.memory import is_out_of_memory

TIMED_STEPS = 3

_ONE_VALUE = "Expected more than 1 value per channel"
"""So torch's batch norm begins its complaint."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the steps showed.

    Attributes:
        parameters: learned parameters of the model.
        seconds_per_step: median over the timed steps of forward, backward and optimizer on one batch.
    """

    parameters: int
    seconds_per_step: float


def probe(config: Configuration, image_shape: ImageShape, classes: int, device: torch.device, train_size: int) -> Probe:
    """Take one step to warm up and a few timed ones, on batches of the configuration's size.

    Args:
        config: what is trained.
        image_shape: (3, H, W).
        classes: how many.
        device: where.
        train_size: training images; a batch has no more.

    Raises:
        UserError: the images are too small for the model, or the batch for its norms.
        CheckError: the memory does not suffice, or the very first loss is not finite.
    """
    try:
        return _probe(config, image_shape, classes, device, min(config.integer("batch_size"), train_size))
    except ValueError as error:
        if _ONE_VALUE not in str(error):
            raise
        rule = (
            f"batch norm needs more than one value per channel, and of images {image_shape[1]}x{image_shape[2]} the "
            f"last layers of model {config.text('model')} leave one; take 2 or more"
        )
        raise UserError(Problem(rule, "train.batch_size", config.integer("batch_size"))) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        width = f", width {config['width']}" if "width" in config else ""
        raise CheckError(
            f"model {config.text('model')} does not fit into the memory of {device} "
            f"(batch_size {config.integer('batch_size')}{width})"
        ) from error


def _probe(
    config: Configuration, image_shape: ImageShape, classes: int, device: torch.device, batch_size: int
) -> Probe:
    configure(config.integer("threads"), device)
    # As many steps per epoch as are taken, so that no schedule runs out.
    learner = Learner(config, image_shape, classes, device, steps_per_epoch=1 + TIMED_STEPS)
    images = torch.randn(batch_size, *image_shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch_size,), device=device)
    learner.model.train()
    first = learner.train_step(images, labels)[0].item()  # .item() waits for the device
    if not math.isfinite(first):
        raise CheckError(
            f"loss {config.text('loss')} of model {config.text('model')} is {first} before anything was learned"
        )
    seconds = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        learner.train_step(images, labels)[0].item()
        seconds.append(time.perf_counter() - started)
    return Probe(count_parameters(learner.model), median(seconds))
