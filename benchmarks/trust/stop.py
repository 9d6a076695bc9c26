"""`stop: {when: noise}`: how many of 250 random trials it saves, and what the best configuration loses by it."""

from collections.abc import Iterator

import numpy as np

from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import SEED_SD, Floats, true_values
from cifar_tune.statistics.stopping import mean_loss
from cifar_tune.study_spec.stop import FEWEST

_TRIALS = 250


def stop(studies: int) -> Iterator[Check]:
    """With a quarter of all trials in place of those of the last hour, as in a `deterministic` study."""
    draw = np.random.default_rng(5)
    truth = true_values(draw, studies // 4, _TRIALS)
    values = truth + draw.normal(0, SEED_SD, truth.shape)
    rows = np.arange(len(truth))
    whole = -truth[rows, values.argmax(axis=1)].mean()
    for factor, most in ((0.1, 0.08), (0.05, 0.05)):
        ends = np.array([_end(each, factor) for each in values])
        chosen = np.array([row[:end].argmax() for row, end in zip(values, ends, strict=True)])
        lost = float((-truth[rows, chosen]).mean() - whole)
        yield Check(f"trials saved of {_TRIALS}, factor {factor:g}, %", 100 * (1 - ends.mean() / _TRIALS), 25, 75)
        yield Check(f"the chosen configuration is worse for it, factor {factor:g}, points", lost, 0.0, most)


def _end(values: Floats, factor: float) -> int:
    """After how many trials the rule stops."""
    for count in range(FEWEST, _TRIALS):
        if mean_loss(values[:count].tolist(), max(5, count // 4)) < factor * SEED_SD:
            return count
    return _TRIALS
