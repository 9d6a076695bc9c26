"""How far importances depend on which trials happened to be tried: the bootstrap over trials."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cifar_tune.reports.importances import Importances, assessed, ped_anova
from cifar_tune.storage.records import StudyRecord

RESAMPLES = 100
MOST_TRIALS = 500
"""In one resample. Fewer than there are make the intervals too wide rather than too narrow."""

_INTERVAL = (5.0, 95.0)
_FEWEST = 10


@dataclass(frozen=True)
class Spread:
    """Where the share of each knob lay in 90 of 100 resamples.

    Attributes:
        intervals: low and high share by knob.
        resamples: how many there were.
        trials: how many trials each of them had, of so many completed ones.
        completed: completed trials.
    """

    intervals: Mapping[str, tuple[float, float]]
    resamples: int
    trials: int
    completed: int


def spread(record: StudyRecord, found: Importances) -> Spread | None:
    """The intervals of the importances `found`; None with fewer than ten completed trials.

    Each resample draws as many completed trials as there are (at most MOST_TRIALS), with replacement, and computes
    PED-ANOVA's shares of them. The draws are seeded: the same study gives the same intervals.
    """
    trials = assessed(record)
    if len(trials) < _FEWEST:
        return None
    size = min(len(trials), MOST_TRIALS)
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(RESAMPLES):
        chosen = [trials[index] for index in draw.integers(len(trials), size=size)]
        shares.append(ped_anova(record.spec, chosen))
    intervals = {}
    for name in found.shares:
        low, high = np.percentile([each.get(name, 0.0) for each in shares], _INTERVAL)
        intervals[name] = (float(low), float(high))
    return Spread(intervals, RESAMPLES, size, len(trials))
