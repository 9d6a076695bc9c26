"""The best completed trials so far, known without looking through all trials again."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState

KEPT = 3
"""As many are known; their checkpoints are kept."""


class BestTrials:
    """The best of the completed trials, best first; of equal ones the older one is better.

    Args:
        trials: those that there are already.
        maximize: whether higher values are better.
    """

    def __init__(self, trials: Iterable[FrozenTrial], maximize: bool) -> None:
        self._sign = -1 if maximize else 1
        self._ranked: list[tuple[float, int]] = []
        for trial in trials:
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                self.add(trial.number, trial.value)

    def add(self, number: int, value: float) -> None:
        """One more trial has completed."""
        self._ranked = sorted([*self._ranked, (self._sign * value, number)])[:KEPT]

    @property
    def best(self) -> tuple[int, float] | None:
        """Number and value of the best one; None while there is none."""
        if not self._ranked:
            return None
        value, number = self._ranked[0]
        return number, self._sign * value

    @property
    def numbers(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(number for _, number in self._ranked)
