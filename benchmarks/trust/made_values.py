"""Made values of trials whose truth is known, in points: the base case that the simulations share.

100 configurations, 20 of them within 0.3 points of the best. Seeds scatter by 0.25, and how well a configuration suits
a split by 0.08.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SEED_SD = 0.25
SPLIT_SD = 0.08
CLOSE, CLOSE_RANGE, WHOLE_RANGE = 20, 0.3, 6.0


def true_values(draw: np.random.Generator, studies: int, trials: int = 100) -> Floats:
    """The true value of each configuration below the best one, [studies, trials]: 0 for the best."""
    close = draw.uniform(-CLOSE_RANGE, 0, (studies, CLOSE))
    close[:, 0] = 0
    others = draw.uniform(-WHOLE_RANGE, -CLOSE_RANGE, (studies, trials - CLOSE))
    return draw.permuted(np.concatenate([close, others], axis=1), axis=1)


def trained(draw: np.random.Generator, on_split: Floats, seeds: int) -> Floats:
    """What trainings with so many seeds give, [..., seeds]; `on_split` is each configuration's value on the split."""
    return on_split[..., None] + draw.normal(0, SEED_SD, (*on_split.shape, seeds))
