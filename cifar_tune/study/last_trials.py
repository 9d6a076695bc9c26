"""The last trials of a study begin in the order of their length: one that takes long must not begin last.

It would be trained alone, while all other executors have nothing to do any more. So, where trials are of different
length, the last ones are drawn from the sampler together and wait, and those that should take longest begin first
(list scheduling by longest processing time, Graham 1969).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import trial_id
from cifar_tune.storage import attributes
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.asking import waiting_trials
from cifar_tune.study.running import RunningTrial
from cifar_tune.study.training_time import FEWEST_KNOWN, expected_logarithms, whole_seconds
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.specification import StudySpec

PER_WORKER = 2
"""Trials that are drawn together, at most, for each executor."""

SHARE = 1 / 3
"""Of a study's trials, at most so many are drawn without the results of the others among them."""

_MOST_PER_WORKER = 50
"""With more trials in all for each executor, its idle time at the end is less than a hundredth of the study."""

_DIFFERENT = 1.5
"""The length below which a tenth of the trials lies and that above which a tenth lies: their ratio has to be larger."""


class LastTrials:
    """Decides when the last trials are drawn, and in which order they begin."""

    def __init__(self, study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec, trials: int) -> None:
        """`trials` is how many there will be in all."""
        self._study = study
        self._storage = storage
        self._spec = spec
        self._trials = trials

    def draw(self, left: int, workers: int, trials: Iterator[RunningTrial], is_stopped: Callable[[], bool]) -> None:
        """Draw all that are left and let them wait, where the end is near and nothing waits already.

        Args:
            left: how many trials have not begun.
            workers: executors that train at a time.
            trials: draws one after the other, for as long as there is anything left to try.
            is_stopped: whether somebody asks to stop meanwhile.
        """
        if not self._is_near(left, workers) or waiting_trials(self._study) or not self._lengths_differ():
            return
        drawn: list[RunningTrial] = []  # they run until all are drawn, so that the sampler keeps away from them
        for running in trials:
            drawn.append(running)
            if len(drawn) == left or is_stopped():
                break
        for running in drawn:
            self._storage.set_trial_state_values(trial_id(running.trial), TrialState.WAITING)

    def next_waiting(self, left: int) -> FrozenTrial | None:
        """The parked or enqueued trial that is next: the longest, where no others are left; None if none waits.

        Those whose parameters the sampler has yet to complete come first then, in their order.
        """
        waiting = waiting_trials(self._study)
        if len(waiting) < max(left, 2) or self._spec.deterministic is not None:
            return waiting[0] if waiting else None
        unknown = [trial for trial in waiting if attributes.CONFIG not in trial.user_attrs]
        expected = None if unknown else expected_logarithms(self._ended(), waiting)
        if expected is None:
            return (unknown or waiting)[0]
        return waiting[int(np.argmax(expected))]

    def _is_near(self, left: int, workers: int) -> bool:
        if self._spec.deterministic is not None or SAMPLERS[self._spec.sampler.name].draws_slowly:
            return False  # in batches, what a trial sees of others is fixed
        is_worth_it = workers > 1 and self._trials <= _MOST_PER_WORKER * workers
        return is_worth_it and 1 < left <= min(PER_WORKER * workers, SHARE * self._trials)

    def _lengths_differ(self) -> bool:
        seconds = whole_seconds(self._ended())
        if len(seconds) < FEWEST_KNOWN:
            return False
        short, long = np.quantile(seconds, (0.1, 0.9))
        return bool(long >= _DIFFERENT * short)

    def _ended(self) -> Sequence[FrozenTrial]:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return self._study.get_trials(deepcopy=False, states=states)
