"""How sure importances are: how they vary over resamples of the trials, and what chance alone would give.

A resample says how much the shares depend on the trials that happened to be drawn, not how far they are from the truth:
shares add up to 1, so that where no knob matters some knob has a large share all the same. What chance alone gives is
seen by shuffling: the values are dealt out again among the trials, so that no knob has to do with them any more. They
are shuffled within each fifth of the study, since a sampler that learns comes back to what it holds for good, and its
later trials are better ones too, whatever a knob is worth.
"""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from cifar_tune.reports.importances import Importances, assessed, divergences, ped_anova, quick
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study_spec.specification import StudySpec

RESAMPLES = 100
SHUFFLES = 100
MOST_TRIALS = 500
"""In one resample or shuffle. What more trials would have changed is computed from it."""

_INTERVAL = (5.0, 95.0)
_FEWEST = 10
_PARTS = 5
_CHANCE = 95.0
_FALL = 0.75
"""What chance gives falls with the number of trials to this power: with 1 for choices, a little slower for ranges."""


@dataclass(frozen=True)
class Spread:
    """How far the share of each knob varied in 90 of 100 resamples.

    Attributes:
        intervals: low and high share by knob; the share itself lies between them.
        resamples: how many there were.
        trials: how many trials each of them had, of this many completed ones.
        completed: completed trials.
    """

    intervals: Mapping[str, tuple[float, float]]
    resamples: int
    trials: int
    completed: int

    @property
    def words(self) -> str:
        """What the intervals are, without a full stop."""
        size = f" of {self.trials:,}" if self.trials < self.completed else ""
        return f"how far the shares varied in 90 of {self.resamples} resamples{size} of these trials"


def spread(record: StudyRecord, found: Importances) -> Spread | None:
    """How the importances `found` vary; None with fewer than ten completed trials.

    Each resample draws as many completed trials as there are (at most MOST_TRIALS), with replacement, and computes
    PED-ANOVA's shares of them. Deviations from their median are put around the shares, for smaller resamples reduced
    by the square root of their size over that of the study (the m out of n bootstrap, Politis and Romano 1994). The
    draws are seeded: the same study gives the same intervals.
    """
    trials = quick(assessed(record))
    if len(trials) < _FEWEST:
        return None
    size = min(len(trials), MOST_TRIALS)
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(RESAMPLES):
        chosen = [trials[index] for index in draw.integers(len(trials), size=size)]
        shares.append(ped_anova(record.spec, chosen))
    reach = math.sqrt(size / len(trials))
    intervals = {}
    for name, share in found.shares.items():
        resampled = np.array([each.get(name, 0.0) for each in shares])
        low, high = share + reach * (np.percentile(resampled, _INTERVAL) - np.median(resampled))
        intervals[name] = (max(0.0, float(low)), min(1.0, float(high)))
    return Spread(intervals, RESAMPLES, size, len(trials))


@dataclass(frozen=True)
class Chance:
    """What the shares would be by chance.

    Attributes:
        marks: by knob, the share that chance alone would have given it; it may be above 1 where little was found.
        shuffles: how many shuffles they come from. In 95 % of them no knob passed its mark.
    """

    marks: Mapping[str, float]
    shuffles: int

    def passed(self, found: Importances) -> list[str]:
        """The knobs whose share is above what chance would give."""
        return [name for name, share in found.shares.items() if share > self.marks[name]]

    @property
    def words(self) -> str:
        """What the marks are, without a full stop."""
        return f"what chance gives: in 95 % of {self.shuffles} shuffles of the values no knob had more"

    def verdict(self, found: Importances) -> str:
        """Which knobs are told from chance, as a sentence."""
        names = self.passed(found)
        if not names:
            return "No knob can be told from chance."
        others = "the others cannot be told from it" if len(names) < len(found.shares) else "that is all of them"
        return f"Above chance: {', '.join(names)}; {others}."


def chance(record: StudyRecord, found: Importances) -> Chance | None:
    """What chance alone would give; None with fewer than ten completed trials."""
    trials = quick(assessed(record))
    return None if len(trials) < _FEWEST else chance_of(record.spec, trials, found.shares)


def chance_of(spec: StudySpec, trials: Sequence[FrozenTrial], shares: Collection[str]) -> Chance:
    """What chance alone would give the knobs named by `shares`.

    The marks are a multiple of what each knob has in the mean of all shuffles, the same for all knobs, chosen so that
    in 95 % of the shuffles no knob is above its mark. They are on the scale of the shares: both are divided by
    what all knobs of the study have together. The shuffles are seeded.
    """
    total = sum(divergences(spec, trials).values())
    draw = np.random.default_rng(0)
    each = [divergences(spec, _shuffled(trials, draw)) for _ in range(SHUFFLES)]
    shuffled = np.array([[found.get(name, 0.0) for name in shares] for found in each])
    usual = shuffled.mean(axis=0)
    factor = float(np.percentile((shuffled / np.maximum(usual, 1e-12)).max(axis=1), _CHANCE))
    more = max(1.0, len(trials) / MOST_TRIALS) ** -_FALL
    marks = usual * factor * more / total
    return Chance(dict(zip(shares, marks.tolist(), strict=True)), SHUFFLES)


def _shuffled(trials: Sequence[FrozenTrial], draw: np.random.Generator) -> list[FrozenTrial]:
    """Copies of at most MOST_TRIALS trials, in the order of the study, whose values are shuffled in each fifth."""
    if len(trials) > MOST_TRIALS:
        trials = [trials[index] for index in sorted(draw.choice(len(trials), MOST_TRIALS, replace=False))]
    copies = []
    for part in np.array_split(np.arange(len(trials)), _PARTS):
        for at, from_ in zip(part, draw.permutation(part), strict=True):
            each = copy.copy(trials[at])
            each.values = trials[from_].values
            copies.append(each)
    return copies
