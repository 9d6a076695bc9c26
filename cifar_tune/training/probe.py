"""A few steps of a configuration: whether it runs, how fast, how much memory it takes, and how fast beside others."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

import torch

from cifar_tune.data.batches import endless_batches, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import count_parameters
from cifar_tune.models.layers import ImageShape
from cifar_tune.training.device import configure
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.failures import is_out_of_memory
from cifar_tune.training.learner import Learner

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


_WARMING_STEPS = 5
_MOST_STEPS = 1_000_000
"""Of the one epoch that the schedule is made for, so that none runs out."""


class Rehearsal:
    """A training that has taken its first steps, compiled if it is to be, and waits for the others.

    Args:
        config: what is trained.
        data: the images, on the device.
        device: where.
    """

    def __init__(self, config: Configuration, data: ResidentData, device: torch.device) -> None:
        configure(config.integer("threads"), device)
        self._learner = _learner(config, data, device)
        self._batches = endless_batches(data, config)
        for _ in range(_WARMING_STEPS):
            loss = self._learner.train_step(*next(self._batches))[0]
        loss.item()  # waits for the device

    def images_per_second(self, seconds: float) -> float:
        """Train for some seconds, augmentation included."""
        started = time.perf_counter()
        images = 0
        while time.perf_counter() - started < seconds:
            batch, labels = next(self._batches)
            loss = self._learner.train_step(batch, labels)[0]
            images += len(batch)
        loss.item()
        return images / (time.perf_counter() - started)


def peak_memory(configs: Sequence[Configuration], data: ResidentData, device: torch.device) -> int:
    """Bytes that torch holds on a CUDA device at most, the images included, while each configuration takes a step.

    A batch of validation images counts too. Elsewhere it is 0.
    """
    if device.type != "cuda":
        return 0
    peak = 0
    for config in configs:
        configure(config.integer("threads"), device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        learner = _learner(config, data, device)
        learner.train_step(*next(endless_batches(data, config)))[0].item()
        evaluate(learner.evaluated, islice(validation_batches(data, config), 1), learner.precision, device)
        peak = max(peak, torch.cuda.max_memory_reserved(device))
        del learner
    torch.cuda.empty_cache()
    return peak


def room(device: torch.device) -> tuple[int, int]:
    """Bytes of a CUDA device that are free or held by this process's torch, and its whole memory; elsewhere 0."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device), total


def _learner(config: Configuration, data: ResidentData, device: torch.device) -> Learner:
    learner = Learner(config, data.image_shape, len(data.classes), device, _MOST_STEPS)
    learner.model.train()
    return learner
