"""What early epochs tell about last ones: whether a pruner could know what it decided, and what that cost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, spearmanr

from cifar_tune.reports.report import Report
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
    """Agreement by epoch, over so many completed trials of so many epochs each."""

    trials: int
    epochs: int
    agreements: Sequence[Agreement]


def early_epochs(report: Report) -> EarlyEpochs | None:
    """Rank correlations over the completed trials with the most usual number of epochs; None where these are few.

    Trials that the pruner stopped are missing, and with them the ones that differ most: the true correlation is
    rather higher.
    """
    usual = Counter(trial.epochs for trial in _trained(report)).most_common(1)
    if not usual or usual[0][1] < _FEWEST or usual[0][0] < 2 or report.record.spec.has_several_objectives:
        return None
    epochs = usual[0][0]
    trials = [trial for trial in _trained(report) if trial.epochs == epochs and len(trial.intermediate) == epochs]
    last = np.array([trial.intermediate[epochs] for trial in trials])
    if len(trials) < _FEWEST or not np.isfinite(last).all() or np.ptp(last) == 0:
        return None
    found = []
    for epoch in sorted({max(1, round(share * epochs)) for share in _SHARES} - {epochs}):
        then = np.array([trial.intermediate[epoch] for trial in trials])
        if np.ptp(then) > 0:
            found.append(_agreement(epoch, then, last))
    return EarlyEpochs(len(trials), epochs, found) if found else None


def sparing_words(report: Report) -> str:
    """What became of the trials that were trained on against the pruner's advice; empty where there are none."""
    spared = [trial for trial in _trained(report) if trial.spared_at is not None and trial.value is not None]
    others = [trial for trial in _trained(report) if trial.spared_at is None and trial.value is not None]
    if not spared:
        return ""
    objective = report.record.spec.objective
    sign = -1 if objective.direction == "minimize" else 1
    best = max(spared, key=lambda trial: sign * (trial.value or 0.0))
    words = (
        f"{len(spared):,} of the trials that the pruner would have stopped {'was' if len(spared) == 1 else 'were'} "
        f"trained to the end on purpose; the best of them is trial {best.number} with {report.scale.shown(best.value)}"
    )
    if not others:
        return words
    values = [sign * (trial.value or 0.0) for trial in (best, *others)]
    place = int(rankdata([-value for value in values], method="min")[0])
    verdict = "better than every" if place == 1 else f"in place {place:,} among the {len(others):,}"
    return f"{words}, {verdict} trial{'' if place == 1 else 's'} that it let through"


def _trained(report: Report) -> list[TrialRecord]:
    return [trial for trial in report.completed if trial.reason == "completed"]


def _agreement(epoch: int, then: "np.ndarray", last: "np.ndarray") -> Agreement:
    draw = np.random.default_rng(0)
    resampled = []
    for _ in range(_RESAMPLES):
        chosen = draw.integers(len(last), size=len(last))
        if np.ptp(then[chosen]) > 0 and np.ptp(last[chosen]) > 0:
            resampled.append(_spearman(then[chosen], last[chosen]))
    low, high = np.percentile(resampled, _INTERVAL)
    return Agreement(epoch, _spearman(then, last), float(low), float(high))


def _spearman(first: "np.ndarray", second: "np.ndarray") -> float:
    return float(spearmanr(first, second).statistic)
