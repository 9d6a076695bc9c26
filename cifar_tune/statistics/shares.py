"""How sure an accuracy is: a share of images, each of which is either right or wrong.

Wilson's interval (1927) keeps its promise near 0 and 1, where the textbook interval p +- 1.96 sqrt(p (1 - p) / n)
shrinks to nothing: nobody knows an accuracy exactly because 300 of 300 images were right.
"""

import math
from statistics import NormalDist

CONFIDENCE = 0.95

_FEW = 10.0
"""Fewer right or wrong images than these, and the textbook standard error is too small."""


def wilson(share: float, count: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval for a share.

    Args:
        share: the observed one, in [0, 1].
        count: of this many images, > 0.
        confidence: how often the interval holds the true share.

    Returns:
        Its ends, in [0, 1].
    """
    return wilson_at(share, count, NormalDist().inv_cdf((1 + confidence) / 2))


def wilson_at(share: float, count: float, quantile: float) -> tuple[float, float]:
    """The same with the quantile itself, such as one of Student's; `count` may be an effective number of images."""
    spread = quantile * quantile / count
    middle = (share + spread / 2) / (1 + spread)
    half = quantile * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def standard_error(share: float, count: int) -> float:
    """Of a share of `count` images: sqrt(p (1 - p) / n).

    With fewer than ten right or ten wrong images that is too small (0 if all are right). Then it is half the width of
    Wilson's interval of one standard deviation on either side.
    """
    if min(share, 1 - share) * count >= _FEW:
        return math.sqrt(share * (1 - share) / count)
    low, high = wilson_at(share, count, 1.0)
    return (high - low) / 2
