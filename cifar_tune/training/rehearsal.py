"""How fast a configuration trains while others train beside it on the same device, and how much memory it takes."""

import time
from collections.abc import Sequence
from itertools import islice

import torch

from cifar_tune.data.batches import endless_batches, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.device import configure
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.learner import Learner

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
