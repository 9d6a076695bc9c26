"""Storages that show another storage with small changes.

`PassingStorage` passes everything on. `PausedAsPruned` is what a sampler sees where trials pause. `EarlierBatches` is
what the sampler and the pruner of a trial see in a study with `deterministic: N`: trials are dealt in batches of N by
their numbers, and only trials of earlier batches, all of which have ended, count for a trial. So it does not matter
which trials of its own batch have ended already.
"""

import copy
import math
from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import QMC_COUNTER, FrozenStudy, asks_what_waits
from cifar_tune.storage import attributes


class PassingStorage(BaseStorage):
    """See `BaseStorage` for what each method does.

    Args:
        backend: where everything is passed on to.
    """

    def __init__(self, backend: BaseStorage) -> None:
        self._backend = backend

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Pass it on."""
        return self._backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Pass it on."""
        self._backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Pass it on."""
        self._backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Pass it on."""
        self._backend.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Pass it on."""
        return self._backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Pass it on."""
        return self._backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Pass it on."""
        return self._backend.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Pass it on."""
        return self._backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Pass it on."""
        return self._backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Pass it on."""
        return self._backend.get_all_studies()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Pass it on."""
        return self._backend.create_new_trial(study_id, template_trial)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Pass it on."""
        self._backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Pass it on."""
        return self._backend.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Pass it on."""
        self._backend.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Pass it on."""
        self._backend.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Pass it on."""
        self._backend.set_trial_system_attr(trial_id, key, value)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Pass it on."""
        return self._backend.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Pass it on."""
        return self._backend.get_trial(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Pass it on."""
        return self._backend.get_all_trials(study_id, deepcopy, states)

    def remove_session(self) -> None:
        """Pass it on."""
        self._backend.remove_session()


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


def is_paused(trial: FrozenTrial) -> bool:
    """Whether a trial waits to be promoted: neither a new program nor a new trial may take it in between."""
    return trial.state == TrialState.WAITING and trial.user_attrs.get(attributes.PAUSED) is not None


class PausedAsPruned(PassingStorage):
    """Another storage, in which no paused trial waits: each is shown as pruned, with what it has reported.

    Samplers learn nothing from trials that wait.
    """

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        if asks_what_waits(states):
            waiting = self._backend.get_all_trials(study_id, deepcopy, states)
            return [trial for trial in waiting if not is_paused(trial)]
        trials = self._backend.get_all_trials(study_id, deepcopy=False)
        shown = [_as_pruned(trial) if is_paused(trial) else trial for trial in trials]
        found = [trial for trial in shown if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    pruned = copy.copy(trial)
    pruned.state = TrialState.PRUNED
    last = trial.intermediate_values[max(trial.intermediate_values)]
    pruned.values = None if math.isnan(last) else [last]
    return pruned


def _was_drawn(trial: FrozenTrial) -> bool:
    return not trial.state.is_finished() or attributes.CONFIG in trial.user_attrs


def _as_running(trial: FrozenTrial) -> FrozenTrial:
    running = copy.copy(trial)
    running.state = TrialState.RUNNING
    return running
