"""Draws for tests of augmentations, and images to apply them to."""

import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Draw, Epoch

CPU = torch.device("cpu")


def epoch_of(
    count: int = 0,
    size: int = 32,
    *,
    number: int = 1,
    batch_size: int | None = None,
    order: Tensor | None = None,
    train_size: int | None = None,
) -> Epoch:
    """An epoch of `count` images, in their order and in one batch unless said otherwise."""
    order = torch.arange(count) if order is None else order
    return Epoch(number, order, train_size or len(order), batch_size or len(order), size)


def drawing(count: int, size: int = 32, seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), epoch_of(count, size))


def pixels(count: int, size: int = 32, seed: int = 0) -> Tensor:
    """Images in [0, 1], channels_last: smooth, with a grey, a black and a white one."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    for position, value in ((0, 0.5), (1, 0.0), (2, 1.0)):
        if position < count - 1:
            images[position] = value
    return images.contiguous(memory_format=torch.channels_last)
