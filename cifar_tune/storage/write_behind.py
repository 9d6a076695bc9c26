"""A study in memory whose changes a thread writes to the database, as soon as it can and as few at a time as it must.

The coordinator is the only process that changes a study, so it need not read back what it wrote, nor wait for the disk
after every epoch: samplers and pruners read from memory. The thread collects what happens within a moment and writes
each trial at once; one that began and ended meanwhile costs a single transaction. While the database cannot be
reached, changes stay in memory; when it is back, they are compared with what it holds, and what is missing is written.
It is read through Optuna's public storage interface, and written as `BatchStorage` says.
"""

import copy
import json
import threading
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.optuna_internals import StudyInMemory
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.patience import Outage
from cifar_tune.storage.study_rows import changed
from cifar_tune.storage.views import PassingStorage
from cifar_tune.storage.writer import LINGER_SECONDS, LOOK_SECONDS, REWRITE_SECONDS, Writer

_MOST_UNWRITTEN = 500
_FINISHED = tuple(state for state in TrialState if state.is_finished())


def _never() -> bool:
    return False


def _always_allowed() -> None:
    return


class WriteBehindStorage(PassingStorage):
    """One study of another storage, held in memory.

    Args:
        backend: the database; the study exists there.
        study_name: of the one study that can be read and changed through this storage.
        guard: see `Writer`.
        linger: see `Writer`.
        look: see `Writer`.
        rewrite: see `Writer`.
        url: see `Writer`.
    """

    def __init__(
        self,
        backend: BatchStorage,
        study_name: str,
        guard: Callable[[], None] = _always_allowed,
        linger: float = LINGER_SECONDS,
        look: float = LOOK_SECONDS,
        rewrite: float = REWRITE_SECONDS,
        url: URL | None = None,
    ) -> None:
        self._database = backend
        self._theirs = theirs = backend.get_study_id_from_name(study_name)
        self._memory = StudyInMemory(backend.get_study_directions(theirs), study_name)
        super().__init__(self._memory)
        study = self._memory.get_study_id_from_name(study_name)
        for key, value in backend.get_study_user_attrs(theirs).items():
            self._memory.set_study_user_attr(study, key, value)
        for key, value in backend.get_study_system_attrs(theirs).items():
            self._memory.set_study_system_attr(study, key, value)
        self._unfinished: set[int] = set()
        self._writer = Writer(backend, theirs, self._memory, guard, linger, look, rewrite, url)
        self._writer.start()
        self._unfinished.update(
            trial.number for trial in self._memory.get_all_trials(0, deepcopy=False) if not trial.state.is_finished()
        )

    @property
    def outage(self) -> Outage | None:
        """Why and since when the database cannot be written; None while it can."""
        return self._writer.outage

    @property
    def is_behind(self) -> bool:
        """Whether the database is away, or so much waits to be written that nothing new should begin."""
        return self._writer.outage is not None or len(self._writer.unwritten()) >= _MOST_UNWRITTEN

    def together(self) -> AbstractContextManager[None]:
        """A block in which several changes of a trial are made that must not be written one without the other.

        However long it takes; a run that is killed in it leaves the trials as they were before. Afterwards a trial's
        reports and attributes are written in one transaction, before its end.
        """
        return self._writer.together()

    def unwritten(self) -> frozenset[int]:
        """Numbers of the trials of which the database does not know everything yet."""
        return self._writer.unwritten()

    def raise_if_failed(self) -> None:
        """Raise what ended the writing for good.

        Raises:
            CifarTuneError: the guard's, or a CheckError if another program changed or deleted the study.
        """
        if self._writer.failure is not None:
            raise self._writer.failure

    def admit_others(self, patience: float) -> list[FrozenTrial]:
        """Take over trials that other programs have added meanwhile, and return them; see `Writer.admit_others`.

        Raises:
            CifarTuneError: see `raise_if_failed`.
        """
        admitted = self._writer.admit_others(patience)
        self.raise_if_failed()
        for trial in admitted:
            if trial.state.is_finished():
                self._unfinished.discard(trial.number)
            else:
                self._unfinished.add(trial.number)
        return admitted

    @property
    def run_elsewhere(self) -> frozenset[int]:
        """Numbers of the trials that other programs have begun since this was opened, and not ended yet."""
        return self._writer.run_elsewhere

    def ended_elsewhere(self) -> list[FrozenTrial]:
        """Trials of ours that another program has ended meanwhile, as they stand here too from now on.

        Raises:
            CheckError: if one of them has ended here since it was noticed.
        """
        found = self._writer.ended_elsewhere()
        for trial in found:
            try:
                self._memory.set_trial_state_values(trial.number, trial.state, trial.values)
            except UpdateFinishedTrialError as error:
                raise changed(f"trial {trial.number} was ended by it, and ended here a moment later") from error
            self._unfinished.discard(trial.number)
        return found

    def flush(self, patience: float, impatient: Callable[[], bool] = _never) -> bool:
        """Wait until everything is written, at most `patience` seconds or until `impatient`; returns whether it is.

        Raises:
            CifarTuneError: see `raise_if_failed`.
        """
        is_written = self._writer.flush(patience, impatient)
        self.raise_if_failed()
        return is_written

    def with_history(self, trial: FrozenTrial, patience: float) -> FrozenTrial | None:
        """A trial that ended, with its history, which is read from the database where it was left out.

        Args:
            trial: as it is in memory.
            patience: seconds to wait for the database.

        Returns:
            None if the database does not answer in time.
        """
        if attributes.HISTORY in trial.user_attrs:
            return trial
        found: list[FrozenTrial] = []

        def read() -> None:
            with suppress(SQLAlchemyError, StorageInternalError, KeyError):
                theirs = self._database.get_trial_id_from_study_id_trial_number(self._theirs, trial.number)
                found.append(self._database.get_trial(theirs))

        thread = threading.Thread(target=read, daemon=True)  # one that hangs is left to the end of the process
        thread.start()
        thread.join(patience)
        return found[0] if found else None

    def close(self) -> None:
        """End the writing after the write that runs right now; what is unwritten stays so."""
        self._writer.close()

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Not here: studies are created in the database."""
        raise NotImplementedError

    def delete_study(self, study_id: int) -> None:
        """Not here: studies are deleted in the database."""
        raise NotImplementedError

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        # a copy: `optuna.Trial` writes into what it gets, and the writer relies on trials in memory staying as they are
        trial = copy.copy(self._memory.get_trial(trial_id))
        trial.params = dict(trial.params)
        trial.distributions = dict(trial.distributions)
        trial.intermediate_values = dict(trial.intermediate_values)
        trial.user_attrs = dict(trial.user_attrs)
        trial.system_attrs = dict(trial.system_attrs)
        return trial

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`; those that wait or run are found without looking through all trials."""
        if states is None or any(state in states for state in _FINISHED):
            return self._memory.get_all_trials(study_id, deepcopy, states)
        trials = [self._memory.get_trial(number) for number in sorted(self._unfinished)]
        found = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        return self._memory.get_best_trial(study_id)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `BaseStorage`."""
        number = self._memory.create_new_trial(study_id, template_trial)
        if template_trial is None or not template_trial.state.is_finished():
            self._unfinished.add(number)
        self._writer.mark_trial(number)
        return number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """See `BaseStorage`."""
        self._memory.set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._writer.mark_trial(trial_id)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See `BaseStorage`."""
        is_set = self._memory.set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            self._unfinished.discard(trial_id)
        self._writer.mark_trial(trial_id)
        return is_set

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """See `BaseStorage`."""
        self._memory.set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._writer.mark_trial(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._memory.set_trial_user_attr(trial_id, key, _as_stored(value))
        self._writer.mark_trial(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._memory.set_trial_system_attr(trial_id, key, _as_stored(value))
        self._writer.mark_trial(trial_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        value = _as_stored(value)
        self._memory.set_study_user_attr(study_id, key, value)
        self._writer.mark_attribute("user", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        value = _as_stored(value)
        self._memory.set_study_system_attr(study_id, key, value)
        self._writer.mark_attribute("system", key, value)


def _as_stored(value: Any) -> Any:
    """The value as the database would give it back, and independent of the caller's object."""
    return json.loads(json.dumps(value))
