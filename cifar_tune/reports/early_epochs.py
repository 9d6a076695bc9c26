"""What early epochs tell about last ones: whether a pruner could know what it decided."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifar_tune.storage.records import TrialRecord

_FEWEST = 8
_RESAMPLES = 200
_INTERVAL = (5.0, 95.0)
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Agreement:
    """How well the order of the trials after an epoch agrees with their order at the end.

    Attributes:
        epoch: the epoch.
        correlation: Spearman's rank correlation of the objective after the epoch and after the last one.
        low: the 5th percentile of resamples of the trials.
        high: the 95th.
    """

    epoch: int
    correlation: float
    low: float
    high: float


@dataclass(frozen=True)
class EarlyEpochs:
    """Agreement by epoch, over this many completed trials of this many epochs each."""

    trials: int
    epochs: int
    agreements: Sequence[Agreement]


def early_epochs(completed: Sequence[TrialRecord]) -> EarlyEpochs | None:
    """Rank correlations over the completed trials with the most usual number of epochs; None where these are few.

    Trials that the pruner stopped are missing, and with them the ones that differ most: the true correlation is
    rather higher. Of several objectives no values are kept by epoch, so nothing can be said either.
    """
    usual = Counter(trial.epochs for trial in completed).most_common(1)
    if not usual or usual[0][1] < _FEWEST or usual[0][0] < 2:
        return None
    epochs = usual[0][0]
    trials = [trial for trial in completed if trial.epochs == epochs and len(trial.intermediate) == epochs]
    last = np.array([trial.intermediate[epochs] for trial in trials])
    if len(trials) < _FEWEST or not np.isfinite(last).all() or np.ptp(last) == 0:
        return None
    found = []
    for epoch in sorted({max(1, round(share * epochs)) for share in _SHARES} - {epochs}):
        then = np.array([trial.intermediate[epoch] for trial in trials])
        if np.ptp(then) > 0:
            found.append(_agreement(epoch, then, last))
    return EarlyEpochs(len(trials), epochs, found) if found else None


def _agreement(epoch: int, then: npt.NDArray[np.float64], last: npt.NDArray[np.float64]) -> Agreement:
    chosen = np.random.default_rng(0).integers(len(last), size=(_RESAMPLES, len(last)))
    resampled = _spearman(then[chosen], last[chosen])
    low, high = np.percentile(resampled[np.isfinite(resampled)], _INTERVAL)
    return Agreement(epoch, float(_spearman(then[None], last[None])[0]), float(low), float(high))


def _spearman(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rank correlation of each row with the same row of the other [R, N]; nan where all of a row is equal.

    `scipy.stats.spearmanr` takes one pair at a time, which is many times as slow.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 (its import takes most of a second, and few studies need it)

    ranks = [rankdata(each, axis=1) - (each.shape[1] + 1) / 2 for each in (first, second)]
    squares = [(each**2).sum(axis=1) for each in ranks]
    with np.errstate(invalid="ignore"):
        correlation: npt.NDArray[np.float64] = (ranks[0] * ranks[1]).sum(axis=1) / np.sqrt(squares[0] * squares[1])
    return correlation
