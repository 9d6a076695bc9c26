"""What the sampler and the pruner of a trial see in a study with `deterministic: N`.

Trials are dealt in batches of N by their numbers, and a trial is judged by the trials of earlier batches alone, all of
which have ended. So it does not matter which trials of its own batch happen to have ended already.
"""

import copy
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import QMC_COUNTER, asks_what_waits
from cifar_tune.storage import attributes
from cifar_tune.storage.passing import PassingStorage

_HAS_PARAMETERS = (TrialState.COMPLETE, TrialState.PRUNED)


def first_of_batch(number: int, size: int) -> int:
    """The number of the first trial in the batch of trial `number`."""
    return number - number % size


class EarlierBatches(PassingStorage):
    """Another storage, in which trial `number` finds the finished trials of earlier batches, and those that wait.

    Args:
        backend: whose numbers of trials are their ids, as in `WriteBehindStorage`. It is what is changed.
        number: the trial that is asked for, or judged.
        size: trials in a batch; None where all trials are seen as they are.
        is_exhaustive: whether the sampler must not draw the same twice, and looks at nothing but parameters. It sees
            the trials of its own batch that were asked for before it, and itself, as if all of them were running; and
            none that ended without having been drawn here, which are no branch of its tree.
    """

    def __init__(self, backend: BaseStorage, number: int, size: int | None, is_exhaustive: bool) -> None:
        super().__init__(backend)
        self._number = number
        self._size = size
        self._first = number if size is None else first_of_batch(number, size)
        self._is_exhaustive = is_exhaustive

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        if asks_what_waits(states):
            return self._backend.get_all_trials(study_id, deepcopy, states)
        trials = self._backend.get_all_trials(study_id, deepcopy=False)
        seen = trials if self._size is None else trials[: self._first]
        if self._is_exhaustive:
            own = [] if self._size is None else trials[self._first : self._number + 1]
            together = [*seen, *(_as_running(trial) if _was_drawn(trial) else trial for trial in own)]
            seen = [trial for trial in together if _was_drawn(trial)]
        found = [trial for trial in seen if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`.

        How far a quasi-random sequence is counted follows from the trial's number, whatever a killed run has counted.
        """
        attrs = self._backend.get_study_system_attrs(study_id)
        counters = [key for key in attrs if key.startswith(QMC_COUNTER)]
        drawn = next((trial for trial in self.get_all_trials(study_id, False) if trial.state in _HAS_PARAMETERS), None)
        if not counters or drawn is None or self._size is None:
            return attrs
        begins = first_of_batch(drawn.number, self._size) + self._size  # before it, the sampler knows no parameters
        return attrs | dict.fromkeys(counters, self._number - begins - 1)


def _was_drawn(trial: FrozenTrial) -> bool:
    return not trial.state.is_finished() or attributes.CONFIG in trial.user_attrs


def _as_running(trial: FrozenTrial) -> FrozenTrial:
    running = copy.copy(trial)
    running.state = TrialState.RUNNING
    return running
