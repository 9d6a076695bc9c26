"""The random parameters of augmentations, and what an augmentation is once they are drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Change = Callable[[Tensor, slice], Tensor]
"""Takes a batch, float32 [B, 3, H, W], and which images of the epoch it holds; returns it changed."""

Shares = Callable[[slice], Tensor]
"""Takes which images of the epoch a batch holds; returns how much of every pixel stays each image's own, the rest
coming from another image: float32 [B, H, W], 0 to 1."""


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
        """One number of the distribution Beta(alpha, alpha) per image: float32 [count]."""
        drawn = self._host.beta(alpha, alpha, self.count).astype(np.float32)
        return torch.from_numpy(drawn).to(self.generator.device)

    def host_integers(self, high: int) -> npt.NDArray[np.int64]:
        """One integer of 0 … high - 1 per image, int64 [count], for what the host has to know without waiting."""
        return self._host.randint(high, size=self.count, dtype=np.int64)

    @cached_property
    def _host(self) -> np.random.RandomState:
        # Torch's generators have no beta distribution. RandomState's stream is frozen for good.
        seed = self.generator.initial_seed()
        return np.random.RandomState([seed >> 32, seed & 0xFFFFFFFF])
