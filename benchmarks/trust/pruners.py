"""`benchmarks.pruning`: whether the standard error that it prints is what studies really differ by."""

from collections.abc import Iterator
from statistics import mean, stdev

import numpy as np

from benchmarks.pruning import Curve, Policy, Pools, gain, replayed, resampled
from benchmarks.trust.checks import Check

_EPOCHS, _TRIALS, _POOLS = 6, 30, 20
_MARKS = (36,)  # a fifth of all epochs
_ASHA = Policy("asha", {"reduction_factor": 2})
_NONE = Policy("none")


def pruning(studies: int) -> Iterator[Check]:
    """The gain of a pruner over none in made studies that are independent of each other, and in resamples of one."""
    truly = [_gain(_orders(_study(seed)))[0] for seed in range(studies // 20)]
    said = [_gain(resampled(_study(seed), _POOLS, 3))[1] for seed in range(8)]
    reordered = [_spread_of_orders(_study(seed)) for seed in range(8)]
    yield Check(
        f"standard error that pools give, over that of {len(truly)} independent studies",
        mean(said) / stdev(truly), 0.7, 1.5,
        note=f"orders of the same trials, as of 100 of them: {mean(reordered) / stdev(truly):.2f}",
    )  # fmt: skip


def _study(seed: int) -> list[Curve]:
    """Trials that end between 30 and 70 %, and whose order becomes clear with the epochs."""
    draw = np.random.default_rng(seed)
    rise = 1 - np.exp(-np.arange(1, _EPOCHS + 1) / draw.uniform(1, 3, (_TRIALS, 1)))
    accuracies = draw.uniform(0.3, 0.7, (_TRIALS, 1)) * rise + draw.normal(0, 0.01, (_TRIALS, _EPOCHS))
    return [Curve(each, 2.0) for each in accuracies.tolist()]


def _orders(trials: list[Curve]) -> Pools:
    """The trials themselves in three orders, as the only pool."""
    draw = np.random.default_rng(0)
    return [[[trials[index] for index in draw.permutation(len(trials))] for _ in range(3)]]


def _gain(pools: Pools) -> tuple[float, float]:
    found, without = replayed(pools, _ASHA, _MARKS), replayed(pools, _NONE, _MARKS)
    if len(pools) == 1:
        return 100 * mean(a.best[0] - b.best[0] for a, b in zip(found[0], without[0], strict=True)), 0.0
    return gain(found, without, 0)


def _spread_of_orders(trials: list[Curve]) -> float:
    """The standard error of the mean of 100 orders of the same trials, from 20 of them."""
    draw = np.random.default_rng(0)
    orders: Pools = [[[trials[index] for index in draw.permutation(len(trials))]] for _ in range(_POOLS)]
    return _gain(orders)[1] / 10
