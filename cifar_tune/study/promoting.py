"""Trials that pause and go on later: the pruner `promotion` in a study.

A paused trial waits in the database, with its checkpoint and the attribute PAUSED. Everything else follows from the
values that trials have reported, so that a run that was killed goes on as it would have. When no further trial can
begin, and enough have completed, those that still wait end as pruned.
"""

import math
from collections.abc import Collection, Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import as_asked, trial_id
from cifar_tune.pruners.promotion import Ladder
from cifar_tune.samplers.build import neutral_sampler
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import write_violations
from cifar_tune.storage.views import is_paused
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.asking import waiting_trials
from cifar_tune.study.trial import RunningTrial
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.specification import StudySpec


class Promoting:
    """Says which trials pause, go on, and end. With another pruner, none ever pauses.

    Args:
        study: that runs.
        storage: its trials in memory.
        spec: of it.
    """

    def __init__(self, study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec) -> None:
        self._study = study
        self._storage = storage
        self._spec = spec
        self._is_on = PRUNERS[spec.pruner.name].promotes
        options = _options(spec)
        self._ladder = _ladder(spec)
        self._complete = max(1, round(options.get("complete", 0.0) * spec.budget.trials))
        self._most_paused = int(options.get("most_paused", 0))
        self._to_the_end: set[int] = set()
        self._sign = 1 if spec.objective.direction == "maximize" else -1

    def take_up(self) -> None:
        """Begin with what the trials of earlier runs have reached."""
        if self._is_on:
            for trial in self._study.get_trials(deepcopy=False):
                self._reach_all(trial)

    @property
    def paused(self) -> Mapping[int, int]:
        """The trials that wait, with their rungs."""
        if not self._is_on:
            return {}
        found = {}
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            rung = self._ladder.rung_at(trial.user_attrs[attributes.PAUSED]) if is_paused(trial) else None
            if rung is not None:
                found[trial.number] = rung
        return found

    def pauses(self, running: RunningTrial) -> bool:
        """Whether a trial has to wait after its newest epoch; if so, it is written down that it does.

        The caller writes this together with the state of the trial.
        """
        if not self._is_on or not running.results:
            return False
        epoch = running.results[-1].epoch
        self._reach_all(self._storage.get_trial(running.number))  # a checkpoint may be ahead by several rungs
        rung = self._ladder.rung_at(epoch)
        if rung is None or running.is_trained or running.number in self._to_the_end:
            return False
        if self._ladder.is_promoted(running.number, rung) or running.spare():
            return False
        running.trial.set_user_attr(attributes.PAUSED, epoch)
        return True

    def next(self, leaving: Collection[int]) -> FrozenTrial | None:
        """The trial that is promoted now; None if none is.

        Args:
            leaving: trials that an executor has not left yet.
        """
        paused = _without(self.paused, leaving)
        if not paused or any(attributes.PARAMETERS in trial.user_attrs for trial in waiting_trials(self._study)):
            return None  # what was parked in between goes on first, as it would have
        return self._take(self._ladder.next(paused))

    def next_to_complete(self, leaving: Collection[int], running: int) -> FrozenTrial | None:
        """The best trial that waits, where no further one begins and too few have completed; else None.

        Args:
            leaving: see `next`.
            running: how many trials run, each of which may complete.
        """
        paused = _without(self.paused, leaving)
        if not paused or self._completed() + running >= self._complete:
            return None
        number = self._ladder.best(paused)
        if number is not None:
            self._to_the_end.add(number)
        return self._take(number)

    def hopeless(self, is_over: bool) -> list[int]:
        """The trials that need not wait any longer.

        Args:
            is_over: whether no further trial begins or goes on, so that none needs to.
        """
        return list(self._ladder.hopeless(self.paused, 0 if is_over else self._most_paused))

    def end(self, number: int) -> FrozenTrial:
        """End a trial that waits as pruned; returns it as it ended."""
        trial = self._storage.get_trial(number)
        last = trial.intermediate_values[max(trial.intermediate_values)]
        figures = trial.user_attrs.get(attributes.METRICS, {})
        with self._storage.together():
            self._study.sampler = neutral_sampler()
            self._storage.set_trial_user_attr(number, attributes.PRUNED_AT, trial.user_attrs[attributes.PAUSED])
            self._storage.set_trial_user_attr(number, attributes.REASON, "pruned")
            judged = violations(self._spec.constraints, figures)
            write_violations(as_asked(self._study, trial), judged, self._spec.sampler)
            self._storage.set_trial_state_values(
                trial_id(trial), TrialState.PRUNED, None if math.isnan(last) else [last]
            )
        return self._storage.get_trial(number)

    def _take(self, number: int | None) -> FrozenTrial | None:
        return None if number is None else self._storage.get_trial(number)

    def _reach_all(self, trial: FrozenTrial) -> None:
        for epoch, value in trial.intermediate_values.items():
            rung = self._ladder.rung_at(epoch)
            if rung is not None:
                self._ladder.reach(trial.number, rung, -math.inf if math.isnan(value) else self._sign * value)

    def _completed(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def rung_of(epoch: int, spec: StudySpec) -> int | None:
    """Which rung a trial has reached after this many epochs, from 1; None if none."""
    rung = _ladder(spec).rung_at(epoch)
    return None if rung is None else rung + 1


def _ladder(spec: StudySpec) -> Ladder:
    options = _options(spec)
    return Ladder(*(int(options.get(name, 2)) for name in ("min_resource", "reduction_factor", "keep")))


def _options(spec: StudySpec) -> dict[str, float]:
    """The parameters of the pruner, with the defaults of those that were not given."""
    parameters = {each.name: each.default for each in PRUNERS[spec.pruner.name].parameters} | dict(spec.pruner.options)
    return {name: float(value) for name, value in parameters.items() if isinstance(value, int | float)}


def _without(paused: Mapping[int, int], leaving: Collection[int]) -> dict[int, int]:
    return {number: rung for number, rung in paused.items() if number not in leaving}
