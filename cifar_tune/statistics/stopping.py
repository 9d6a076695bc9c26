"""Whether more trials are worth their time: what the best would have lost had the last ones not been run.

m of the n trials are taken away at random, in thought; the best of the others is worse than the best of all by G in the
mean. Where G is small against the scatter of one training, what the next m trials would add is lost in the noise.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

FEWEST_FREEDOM = 3
"""Degrees of freedom, below which the scatter of repeated configurations is not taken for an estimate."""

SEEDS_OVER_IMAGES = 0.7
"""Scatter of trainings that differ in their seed, over the standard error that the number of images gives: measured on
CIFAR-10. It is less than 1, since all trainings are validated on the same images."""


def mean_loss(values: Sequence[float], without: int) -> float:
    """By how much the best value is above that of a random choice of all but `without` of them, in the mean.

    Args:
        values: higher is better.
        without: m, of at least 1 and less than there are values.
    """
    ordered = sorted(values, reverse=True)
    count = len(ordered)
    share = (count - without) / count  # how likely it is that the best one is among those that are left
    lost = 0.0
    for rank in range(without + 1):
        lost += share * (ordered[0] - ordered[rank])
        if rank < without:
            share *= (without - rank) / (count - rank - 1)
    return lost


def pooled_scatter(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation within groups of equal configurations; None with fewer than FEWEST_FREEDOM degrees."""
    squares, freedom = 0.0, 0
    for group in groups:
        middle = fmean(group)
        squares += sum((value - middle) ** 2 for value in group)
        freedom += len(group) - 1
    return math.sqrt(squares / freedom) if freedom >= FEWEST_FREEDOM else None
