"""Which training images an epoch has, and in which order: drawn on the device, so that nothing waits for it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

Sampling = Callable[[torch.Generator], Tensor]
"""Draws an epoch: places in the training split, int64 [count], on the device of the generator."""


def uniform(labels: Tensor, counts: Sequence[int], count: int) -> Sampling:
    """Every training image once at most, in a random order.

    Args:
        labels: of the training split, int64 [T].
        counts: how many of them each class has.
        count: images of an epoch, T at most.
    """
    size, device = len(labels), labels.device
    return lambda generator: torch.randperm(size, generator=generator, device=device)[:count]


def balanced(labels: Tensor, counts: Sequence[int], count: int) -> Sampling:
    """As many images of every class that has any, to within one, in a random order.

    The images of a class come equally often, to within one. A small class is gone through again and again, each time in
    another order; of a large one every epoch has another part. Drawing with replacement, as torch's
    WeightedRandomSampler does, would leave out some images of a small class while it repeats others.

    Args:
        labels: of the training split, int64 [T].
        counts: how many of them each class has.
        count: images of an epoch.
    """
    device = labels.device
    present = [size for size in counts if size]
    each, rest = divmod(count, len(present))
    rounds = [-(-(each + 1) // size) for size in present]  # so often a class is gone through, for one image more
    by_class = torch.split(labels.argsort(stable=True), present)
    candidates = torch.cat([places.repeat(times) for places, times in zip(by_class, rounds, strict=True)])
    sizes = [size for size, times in zip(present, rounds, strict=True) for _ in range(times)]
    round_of = torch.cat([torch.full((size,), index, device=device) for index, size in enumerate(sizes)])
    lengths = [size * times for size, times in zip(present, rounds, strict=True)]
    firsts = [end - length for end, length in zip(accumulate(lengths), lengths, strict=True)]
    taken = torch.cat([torch.arange(first, first + each, device=device) for first in firsts])
    one_more = torch.cat([torch.arange(first + each, first + each + 1, device=device) for first in firsts])

    def draw(generator: torch.Generator) -> Tensor:
        mixed = torch.rand(len(candidates), generator=generator, device=device).argsort(stable=True)
        within_rounds = mixed[round_of[mixed].argsort(stable=True)]
        lucky = one_more[torch.randperm(len(present), generator=generator, device=device)[:rest]]
        chosen = candidates[within_rounds[torch.cat([taken, lucky])]]
        return chosen[torch.randperm(count, generator=generator, device=device)]

    return draw


SAMPLINGS: Mapping[str, Callable[[Tensor, Sequence[int], int], Sampling]] = {"uniform": uniform, "balanced": balanced}
"""By the names of the knob `sampling`."""
