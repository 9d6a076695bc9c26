"""How well a model knows how sure it may be: a reliability diagram in numbers, and the calibration error.

Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599): the images are put into bins of equal
width by the probability of the predicted class, and the mean probability of each bin is compared with its accuracy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15
"""As in Guo et al. Other numbers of bins give other errors, so the number belongs to the figure."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The images whose predicted class has a probability above `low` and at most `high`.

    Attributes:
        low, high: ends of the bin.
        images: how many; without one there is neither confidence nor accuracy.
        confidence: mean probability of the predicted class.
        accuracy: share of the images that are right.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """The bins, from 0 to 1.

    Args:
        confidence: probability of the predicted class of each image, [N], in [0, 1].
        right: whether the prediction is right, bool [N].
        bins: how many.
    """
    ends = np.linspace(0, 1, bins + 1)
    places = np.clip(np.searchsorted(ends, confidence, side="left") - 1, 0, bins - 1)
    found = []
    for place in range(bins):
        inside = places == place
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if count else (None, None)
        found.append(Bin(float(ends[place]), float(ends[place + 1]), count, *means))
    return found


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their images; at least one there must be."""
    gaps = sum(each.images * abs(each.confidence - each.accuracy) for each in bins
               if each.confidence is not None and each.accuracy is not None)  # fmt: skip
    return gaps / sum(each.images for each in bins)
