"""How fast a configuration trains while others train beside it on the same device, and how much memory it takes."""

import time
from collections.abc import Iterator, Sequence
from itertools import count

import torch
from torch import Tensor

from cifar_tune.data.batches import training_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.device import configure
from cifar_tune.training.learner import Learner

_WARMING_STEPS = 5
_MOST_STEPS = 1_000_000
"""Of the one epoch that the schedule is made for, so that none runs out."""


def images_per_second(config: Configuration, data: ResidentData, device: torch.device, seconds: float) -> float:
    """Train for some seconds, augmentation included, and say how many images that were in a second."""
    configure(config.integer("threads"), device)
    learner = Learner(config, data.image_shape, len(data.classes), device, _MOST_STEPS)
    learner.model.train()
    batches = _batches(config, data)
    for _ in range(_WARMING_STEPS):
        loss = learner.train_step(*next(batches))[0]
    loss.item()  # waits for the device
    started = time.perf_counter()
    images = 0
    while time.perf_counter() - started < seconds:
        batch, labels = next(batches)
        loss = learner.train_step(batch, labels)[0]
        images += len(batch)
    loss.item()
    return images / (time.perf_counter() - started)


def peak_memory(configs: Sequence[Configuration], data: ResidentData, device: torch.device) -> int:
    """Bytes that torch holds on a CUDA device at most while each configuration takes a step; elsewhere 0."""
    if device.type != "cuda":
        return 0
    peak = 0
    for config in configs:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        learner = Learner(config, data.image_shape, len(data.classes), device, _MOST_STEPS)
        learner.model.train()
        learner.train_step(*next(_batches(config, data)))[0].item()
        peak = max(peak, torch.cuda.max_memory_reserved(device))
        del learner
    torch.cuda.empty_cache()
    return peak


def _batches(config: Configuration, data: ResidentData) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch after the other."""
    for epoch in count(1):
        yield from training_batches(data, config, epoch)
