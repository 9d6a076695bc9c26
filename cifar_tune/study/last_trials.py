"""The last trials of a study begin in the order of their length: one that takes long must not begin last.

It would be trained alone, while all other executors have nothing to do any more. So, where trials are of different
length, the last ones are drawn from the sampler together, and those that should take longest begin first (list
scheduling by longest processing time, Graham 1969).
"""

from collections.abc import Callable, Iterator
from itertools import islice

import optuna
from optuna.trial import TrialState

from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.running import RunningTrial
from cifar_tune.study.training_time import expected_seconds, seconds_so_far
from cifar_tune.study_spec.specification import StudySpec

PER_WORKER = 2
"""Trials that are drawn together, at most, for each executor."""

_SHARE = 5
"""At most one in so many of a study's trials is drawn without the results of the others among them."""

_FEWEST_KNOWN = 5
_DIFFERENT = 1.5
"""The longest training over the shortest one, from which on the order matters."""


class LastTrials:
    """Trials that are drawn, in the order in which they are to begin; empty until the end of the study is near."""

    def __init__(self, study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec) -> None:
        self._study = study
        self._storage = storage
        self._spec = spec
        self._drawn: list[RunningTrial] = []
        self._decided = spec.deterministic is not None  # what a trial sees of others is fixed there

    def next(self, left: int, workers: int, draw: Callable[[], Iterator[RunningTrial]]) -> RunningTrial | None:
        """The one that begins now; None if the next trial is to be drawn on its own.

        Args:
            left: how many trials of the budget have not begun.
            workers: executors that train at a time.
            draw: draws trial after trial, for as long as there is anything left to try.
        """
        if not self._decided and left <= min(PER_WORKER * workers, self._spec.budget.trials // _SHARE):
            self._decided = True
            if workers > 1 and left > 1 and self._lengths_differ():
                self._draw(left, draw())
        return self._drawn.pop(0) if self._drawn else None

    def set_aside(self) -> None:
        """Let those that have not begun wait for another run."""
        for running in self._drawn:
            self._storage.set_trial_state_values(running.trial._trial_id, TrialState.WAITING)
        self._drawn.clear()

    def _lengths_differ(self) -> bool:
        seconds = seconds_so_far(self._study.get_trials(deepcopy=False))
        return len(seconds) >= _FEWEST_KNOWN and max(seconds) >= _DIFFERENT * min(seconds)

    def _draw(self, left: int, trials: Iterator[RunningTrial]) -> None:
        self._drawn = list(islice(trials, left))
        configs = [running.config.stored() for running in self._drawn]
        seconds = expected_seconds(self._study.get_trials(deepcopy=False), configs)
        if seconds is not None:
            longest_first = sorted(range(len(seconds)), key=lambda index: -seconds[index])
            self._drawn = [self._drawn[index] for index in longest_first]
