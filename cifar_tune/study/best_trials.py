"""The best trials so far, known without looking through all trials again."""

from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial

from cifar_tune.storage.constraints import may_be_best
from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.pareto import Minimized, dominates, minimized
from cifar_tune.study_spec.settings import Objective

KEPT = 3
"""As many are known of one objective; their checkpoints are kept."""


class BestTrials:
    """The best completed trials that keep all constraints; of several objectives, those on the Pareto front.

    Best first, by the first objective; of equal ones the older one is better.

    Args:
        trials: those that there are already.
        objectives: what is good.
        constraints: what a trial has to keep.
    """

    def __init__(
        self, trials: Iterable[FrozenTrial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
    ) -> None:
        self._objectives = objectives
        self._constraints = constraints
        self._ranked: list[tuple[Minimized, FrozenTrial]] = []
        for trial in trials:
            self.add(trial)

    def add(self, trial: FrozenTrial) -> None:
        """One more trial has ended; it counts if it has completed, and been trained for it."""
        if not may_be_best(trial, self._constraints):
            return
        point = minimized(trial.values, self._objectives)
        ranked = [*self._ranked, (point, trial)]
        ranked.sort(key=lambda entry: (entry[0], entry[1].number))
        if len(self._objectives) == 1:
            self._ranked = ranked[:KEPT]
        elif not any(dominates(other, point) for other, _ in self._ranked):
            self._ranked = [entry for entry in ranked if not dominates(point, entry[0])]

    @property
    def best(self) -> FrozenTrial | None:
        """The best one; None while there is none."""
        return self._ranked[0][1] if self._ranked else None

    @property
    def numbers(self) -> list[int]:
        """Their numbers."""
        return [trial.number for _, trial in self._ranked]
