"""Optuna's successive halving and Hyperband with the same verdicts, which take as long however many trials there are.

Optuna looks through all trials whenever one reaches a rung. Here the values of trials that have ended are kept sorted,
by bracket and rung. They do not change any more, so that only trials that have not ended are looked at.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable

import optuna
from optuna import Study
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from cifar_tune import optuna_internals
from cifar_tune.optuna_internals import RUNG, storage_of, trial_id


class _Reached:
    """The values that trials had at the rungs, of the study that was asked about last.

    Args:
        bracket: of a trial.
    """

    def __init__(self, bracket: Callable[[Study, FrozenTrial], int]) -> None:
        self._bracket = bracket
        self._storage: BaseStorage | None = None
        self._seen = 0
        self._open: list[int] = []
        self._ended: dict[tuple[int, str], list[float]] = defaultdict(list)

    def standing(self, study: Study, trial: FrozenTrial, rung: str, value: float) -> tuple[int, int]:
        """How many trials of its bracket have reached a rung, this one included, and how many are better there."""
        bracket = self._bracket(study, trial)
        open_values = self._look(study, trial.number, bracket, rung)
        ended = self._ended[bracket, rung]
        if study.direction == StudyDirection.MAXIMIZE:
            better = len(ended) - bisect_right(ended, value) + sum(each > value for each in open_values)
        else:
            better = bisect_left(ended, value) + sum(each < value for each in open_values)
        return len(ended) + len(open_values) + 1, better

    def _look(self, study: Study, number: int, bracket: int, rung: str) -> list[float]:
        """Take note of trials that have ended; returns the values of the others but one."""
        if storage_of(study) is not self._storage:
            self._storage, self._seen, self._open = storage_of(study), 0, []
            self._ended.clear()
        trials = study.get_trials(deepcopy=False)
        still_open, values = [], []
        for index in [*self._open, *range(self._seen, len(trials))]:
            each = trials[index]
            if each.state.is_finished():
                self._settle(study, each)
                continue
            still_open.append(index)
            if rung in each.system_attrs and each.number != number and self._bracket(study, each) == bracket:
                values.append(each.system_attrs[rung])
        self._seen, self._open = len(trials), still_open
        return values

    def _settle(self, study: Study, trial: FrozenTrial) -> None:
        for key, value in trial.system_attrs.items():
            if key.startswith(RUNG):
                insort(self._ended[self._bracket(study, trial), key], value)


def _is_stopped(study: Study, trial: FrozenTrial, first: int, factor: int, bootstrap: int, reached: _Reached) -> bool:
    """The verdict of successive halving on a trial after its newest epoch; notes the rungs that it has reached.

    Args:
        study: of the trial.
        trial: that has reported.
        first: epochs of the first rung.
        factor: one in this many goes on.
        bootstrap: trials that a rung waits for.
        reached: by the other trials.
    """
    if trial.last_step is None:
        return False
    value = trial.intermediate_values[trial.last_step]
    rung = sum(key.startswith(RUNG) for key in trial.system_attrs)
    while trial.last_step >= first * factor**rung:
        if math.isnan(value):
            return True
        key = f"{RUNG}{rung}"
        count, better = reached.standing(study, trial, key, value)
        storage_of(study).set_trial_system_attr(trial_id(trial), key, value)
        if count <= bootstrap or better >= max(1, count // factor):
            return True
        rung += 1
    return False


class SuccessiveHalvingPruner(optuna.pruners.SuccessiveHalvingPruner):
    """See Optuna's own; `min_resource` is a number."""

    def __init__(
        self,
        min_resource: int = 1,
        reduction_factor: int = 4,
        min_early_stopping_rate: int = 0,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__(min_resource, reduction_factor, min_early_stopping_rate, bootstrap_count)
        self._first = min_resource * reduction_factor**min_early_stopping_rate
        self._factor = reduction_factor
        self._bootstrap = bootstrap_count
        self._reached = _Reached(lambda study, trial: 0)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """See `BasePruner`."""
        return _is_stopped(study, trial, self._first, self._factor, self._bootstrap, self._reached)


class HyperbandPruner(optuna_internals.HyperbandPruner):
    """See Optuna's own; `max_resource` is a number."""

    def __init__(
        self,
        min_resource: int = 1,
        max_resource: int = 1,
        reduction_factor: int = 3,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__(min_resource, max_resource, reduction_factor, bootstrap_count)
        self._first = min_resource
        self._factor = reduction_factor
        self._bootstrap = bootstrap_count
        self._reached = _Reached(self.bracket_of)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """See `BasePruner`."""
        first = self._first * self._factor ** self.bracket_of(study, trial)
        return _is_stopped(study, trial, first, self._factor, self._bootstrap, self._reached)
