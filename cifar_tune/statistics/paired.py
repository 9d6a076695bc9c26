"""Levels of one factor, tried on the same blocks (seeds, folds, combinations of other knobs), compared in pairs.

What a block does to all levels alike, such as a lucky seed, cancels out in their differences. The intervals are
Tukey's (1949, honestly significant difference) in a two-way layout without replication: they hold for all pairs of
levels together, so also for a level against the one that came out best. They assume that the differences between any
two levels scatter about equally.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import stdev

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95


def student_quantile(freedom: float) -> float:
    """Half the width of Student's 95 % interval in standard errors, at this many degrees of freedom."""
    from scipy.special import stdtrit  # noqa: PLC0415 (a third of a second, also for commands that need no interval)

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def mean_half_width(values: Sequence[float]) -> float:
    """Half the width of Student's 95 % interval for the mean of a random sample of two or more values."""
    count = len(values)
    return student_quantile(count - 1) * stdev(values) / math.sqrt(count)


@dataclass(frozen=True, slots=True)
class Paired:
    """Differences of levels.

    Attributes:
        means: of each level, over the blocks.
        half_width: half the width of the interval of each difference of two of them.
        blocks: how many there are.
    """

    means: npt.NDArray[np.float64]
    half_width: float
    blocks: int


def compare_paired(values: npt.NDArray[np.float64]) -> Paired | None:
    """Compare levels.

    Args:
        values: [levels, blocks].

    Returns:
        None with fewer than two levels or blocks, which say nothing about how much a difference scatters.
    """
    levels, blocks = values.shape
    if levels < 2 or blocks < 2:
        return None
    means = values.mean(axis=1)
    residual = values - means[:, None] - values.mean(axis=0) + values.mean()
    freedom = (levels - 1) * (blocks - 1)
    error = math.sqrt(float((residual**2).sum()) / freedom / blocks)
    return Paired(means, _quantile(levels, freedom) * error, blocks)


@lru_cache(maxsize=256)
def _quantile(levels: int, freedom: int) -> float:
    """Of the range of this many means, in standard errors of one of them."""
    from scipy.stats import studentized_range  # noqa: PLC0415 (a second, also for commands that compare nothing)

    return float(studentized_range.ppf(CONFIDENCE, levels, freedom))
