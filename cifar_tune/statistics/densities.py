"""How the values of a knob are distributed: the kernel densities on a grid that PED-ANOVA compares.

Optuna computes the same for any mixture of distributions, one kernel and one point after the other. Here all kernels of
a knob have one width and sit on the points themselves, so that the density is a convolution, in a tenth of the time.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

_STEPS = 50
_LEAST = 1e-12
_NARROWEST = 0.5 / 1.64
"""The narrowest kernel, in points: nine tenths of it lie within one."""


def divergence(distribution: BaseDistribution, near: Sequence[Any], among: Sequence[Any]) -> float:
    """Pearson's divergence of the values `near` from the values `among`, which they are a part of.

    It is that of PED-ANOVA (Watanabe, Bansal and Hutter 2023, equation 6), between two densities on the same grid.

    Args:
        distribution: the range or the choices that all of the values are from.
        near: values of the best trials; at least one.
        among: values of all trials.
    """
    first, second = (density(_counts(distribution, values), _is_range(distribution)) for values in (near, among))
    return float(second @ ((first / second - 1.0) ** 2))


def density(counts: NDArray[Any], is_range: bool) -> NDArray[Any]:
    """The probability of each point.

    One more kernel is as wide as the grid, so that no point has a probability of zero.

    Args:
        counts: how many values lie at each point, of shape (points,).
        is_range: points have neighbours; those of choices have none.
    """
    kernels = _ranges(counts) if is_range else _choices(counts)
    probabilities: NDArray[Any] = kernels / (counts.sum() + 1.0) + _LEAST
    return probabilities


def _ranges(counts: NDArray[Any]) -> NDArray[Any]:
    """The sum of normal distributions, each cut off at the ends of the grid."""
    size = counts.size
    edges = _normal((np.arange(2 * size) - size + 0.5) / _width(counts))  # of all points, as seen from a kernel's own
    inside = edges[: size - 1 : -1] - edges[size - 1 :: -1]  # how much of the kernel at each point lies on the grid
    narrow: NDArray[Any] = np.convolve(counts / inside, np.diff(edges))[size - 1 : 2 * size - 1]
    narrow += _wide_kernel(size)
    return narrow


@cache
def _wide_kernel(size: int) -> NDArray[Any]:
    """One normal distribution as wide as the grid, in the middle of it."""
    masses: NDArray[Any] = np.diff(_normal((np.arange(size + 1) - size / 2) / size))
    masses /= masses.sum()
    return masses


def _width(counts: NDArray[Any]) -> float:
    """Scott's rule (1992), by the smaller one of the standard deviation and the distance of the quartiles."""
    points = np.flatnonzero(counts)
    weights = counts[points]
    sums = np.cumsum(weights)
    total = float(sums[-1])
    mean = points @ weights / total
    deviation = math.sqrt((points - mean) ** 2 @ weights / max(1.0, total - 1.0))
    first = points[np.searchsorted(sums, total // 4, side="left")]
    third = points[min(points.size - 1, int(np.searchsorted(sums, total * 3 // 4, side="right")))]
    return max(1.059 * min(float(third - first) / 1.34, deviation) * math.pow(total, -0.2), _NARROWEST)


def _choices(counts: NDArray[Any]) -> NDArray[Any]:
    """The sum of kernels that have a little more than nothing at the choices that they do not stand for."""
    kernels = np.count_nonzero(counts) + 1
    elsewhere = 1.0 / kernels
    narrow: NDArray[Any] = (counts + elsewhere * counts.sum()) / (1.0 + counts.size * elsewhere)
    narrow += 1.0 / counts.size
    return narrow


def _counts(distribution: BaseDistribution, values: Sequence[Any]) -> NDArray[Any]:
    """How many of the values lie at each point of the grid, which has at most 50 of a range."""
    if isinstance(distribution, CategoricalDistribution):
        indices = [int(distribution.to_internal_repr(value)) for value in values]
        return np.bincount(indices, minlength=len(distribution.choices))
    given = cast(FloatDistribution | IntDistribution, distribution)
    low, high, steps = given.low, given.high, _STEPS
    if isinstance(given, IntDistribution) and given.log:
        steps = min(math.ceil(math.log2(high - low + 1)) + 1, steps)
    elif given.step is not None:
        steps = min(round((high - low) / given.step) + 1, steps)
    numbers = np.asarray(values, dtype=float)
    if given.log:
        low, high, numbers = math.log(low), math.log(high), np.log(numbers)
    points = np.ceil((numbers - low) / ((high - low) / (steps - 1)) - 0.5).astype(np.int64)
    return np.bincount(np.clip(points, 0, steps - 1), minlength=steps)


def _is_range(distribution: BaseDistribution) -> bool:
    return not isinstance(distribution, CategoricalDistribution)


def _normal(points: NDArray[Any]) -> NDArray[Any]:
    """The standard normal distribution function."""
    return 0.5 * np.array([math.erfc(point) for point in (points * -math.sqrt(0.5)).tolist()])
