"""The random parameters of augmentations, and what an augmentation is once they are drawn.

Everything is drawn on the device, and stays there: drawing waits for nothing, and what is drawn can be copied into
tensors that never move, from which a CUDA graph reads.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Places = slice | Tensor
"""Which images of the epoch a batch holds: a slice, or their places, int64 [B], on the device of the images."""


@dataclass(frozen=True)
class Change:
    """How an augmentation changes the images of an epoch.

    Attributes:
        function: takes a batch, float32 [B, 3, H, W], and the parameters of its images; returns it changed.
        parameters: of every image of the epoch, [count, ...] each.
    """

    function: Callable[..., Tensor]
    parameters: tuple[Tensor, ...] = ()

    def __call__(self, images: Tensor, batch: Places) -> Tensor:
        """Change a batch."""
        return self.function(images, *(each[batch] for each in self.parameters))


@dataclass(frozen=True)
class Shares:
    """How an augmentation mixes each image of an epoch with another.

    Attributes:
        function: takes the parameters of the images of a batch; returns how much of every pixel stays each image's
            own, the rest coming from another image: float32 [B, H, W], 0 to 1.
        parameters: of every image of the epoch, [count, ...] each.
    """

    function: Callable[..., Tensor]
    parameters: tuple[Tensor, ...]

    def __call__(self, batch: Places) -> Tensor:
        """The shares of a batch."""
        return self.function(*(each[batch] for each in self.parameters))


PlainChange = Callable[[Tensor, Any], Tensor]
"""What an augmentation of a plugin may return instead of a `Change`: a function of a batch and its slice."""

PlainShares = Callable[[Any], Tensor]
"""The same instead of `Shares`."""


def constants(values: Sequence[float], device: torch.device) -> Tensor:
    """These numbers, float32, made on the device: `torch.tensor` would copy them there, and wait for the copy."""
    return torch.stack([torch.full((), float(value), device=device) for value in values])


@dataclass(frozen=True)
class Epoch:
    """An epoch that images are augmented for.

    Attributes:
        number: from 1.
        order: int64 [count], on the device of the images: which of the training images, in the order of their use.
        train_size: images in the training split; no less than `count`.
        batch_size: images per batch; `count` is a multiple of it.
        image_size: height and width of the images, in pixels.
    """

    number: int
    order: Tensor
    train_size: int
    batch_size: int
    image_size: int

    @property
    def count(self) -> int:
        """Images in the epoch."""
        return len(self.order)


@dataclass(frozen=True)
class Draw:
    """Random parameters for the images of an epoch.

    Attributes:
        generator: lives on the device of the images.
        epoch: what is drawn for.
    """

    generator: torch.Generator
    epoch: Epoch

    @property
    def count(self) -> int:
        """Images in the epoch."""
        return self.epoch.count

    @property
    def size(self) -> int:
        """Height and width of the images, in pixels."""
        return self.epoch.image_size

    def integers(self, high: int, count: int | None = None) -> Tensor:
        """One integer of 0 … high - 1 per image, or `count` of them: int32 [count]."""
        shape = (self.count if count is None else count,)
        return torch.randint(high, shape, generator=self.generator, device=self.generator.device, dtype=torch.int32)

    def uniform(self, low: float, high: float) -> Tensor:
        """One number between `low` and `high` per image: float32 [count]."""
        drawn = torch.rand(self.count, generator=self.generator, device=self.generator.device)
        return low + drawn * (high - low)

    def normal(self, *shape: int) -> Tensor:
        """Numbers of mean 0 and deviation 1, float32; each call goes on where the last one ended."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def beta(self, alpha: float) -> Tensor:
        """One number of the distribution Beta(alpha, alpha) per image: float32 [count].

        Torch's generators have no beta distribution. This one is exact and needs no rejection: Devroye 1996, "Random
        variate generation in one line of code", section on the symmetric beta.
        """
        heavy = torch.expm1(-self.uniform(0, 1).log() / alpha)  # infinite where alpha is small: then 0 or 1 comes out
        cosine = (2 * math.pi * self.uniform(0, 1)).cos()
        return 0.5 + 0.5 * cosine / (1 / heavy + cosine.square()).sqrt()

    def order(self, size: int) -> Tensor:
        """A random order of 0 … size - 1 for each batch of the epoch: int64 [batches, size]."""
        batches = self.count // self.epoch.batch_size
        return torch.rand(batches, size, generator=self.generator, device=self.generator.device).argsort(1)
