"""The accuracy of a configuration, from several networks that differ in their seed, on one set of test images.

Networks and images are both samples. The variance of the mean is estimated in a two-way layout (crossed random effects,
Searle, Casella and McCulloch 1992): what images have in common for all networks, what networks have in common for all
images, and the rest. Its degrees of freedom are Satterthwaite's (1946); the interval is Wilson's with an effective
number of images, so that its ends stay in [0, 1].
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifar_tune.statistics.paired import student_quantile
from cifar_tune.statistics.shares import wilson, wilson_at

_FEW = 10.0
"""With fewer right or wrong images in the mean, the variance is not less than that of one network."""


@dataclass(frozen=True, slots=True)
class NetworkAccuracy:
    """What the test says of a configuration.

    Attributes:
        accuracy: mean over the networks.
        new_images: 95 % interval for new images of the same kind and new seeds.
        same_images: 95 % interval for new seeds on these images, to be compared with other work on the same test set;
            None with one network.
    """

    accuracy: float
    new_images: tuple[float, float]
    same_images: tuple[float, float] | None


def network_accuracy(right: npt.NDArray[np.bool_]) -> NetworkAccuracy:
    """The accuracy of a configuration, with both intervals.

    Args:
        right: which images each network has right, bool [networks, images].
    """
    networks, images = right.shape
    accuracy = float(right.mean())
    if networks == 1:
        return NetworkAccuracy(accuracy, wilson(accuracy, images), None)
    values = right.astype(np.float64)
    if images == 1:  # which says nothing of how images differ
        scatter = float(values.std(ddof=1))
        return NetworkAccuracy(accuracy, wilson(accuracy, images), _same_images(accuracy, networks, scatter))
    of_networks = images * float(values.mean(axis=1).var(ddof=1))
    of_images = networks * float(values.mean(axis=0).var(ddof=1))
    total = float(((values - accuracy) ** 2).sum())
    rest = (total - (networks - 1) * of_networks - (images - 1) * of_images) / ((networks - 1) * (images - 1))
    return NetworkAccuracy(
        accuracy,
        _new_images(accuracy, networks, images, (of_networks, of_images, rest)),
        _same_images(accuracy, networks, math.sqrt(of_networks / images)),
    )


def _new_images(
    accuracy: float, networks: int, images: int, squares: tuple[float, float, float]
) -> tuple[float, float]:
    """The interval, from the mean squares of networks, images and the rest."""
    of_networks, of_images, rest = (each / (networks * images) for each in squares)
    variance = of_networks + of_images - rest
    if min(accuracy, 1 - accuracy) * images < _FEW:
        variance = max(variance, accuracy * (1 - accuracy) / images)
    if variance <= 0:
        return wilson(accuracy, images)
    parts = of_networks**2 / (networks - 1) + of_images**2 / (images - 1) + rest**2 / ((networks - 1) * (images - 1))
    freedom = max(variance**2 / parts, networks - 1) if parts else networks - 1
    quantile = student_quantile(freedom)
    return wilson_at(accuracy, accuracy * (1 - accuracy) / variance, quantile)


def _same_images(accuracy: float, networks: int, scatter: float) -> tuple[float, float]:
    half = student_quantile(networks - 1) * scatter / math.sqrt(networks)
    return max(0.0, accuracy - half), min(1.0, accuracy + half)
