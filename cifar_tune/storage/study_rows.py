"""One study in the database: what is known to be there, and how it is brought up to date."""

import time
from contextlib import suppress
from itertools import takewhile
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.errors import CheckError
from cifar_tune.optuna_internals import BatchStorage, trial_id
from cifar_tune.storage.comparing import is_what_was_sent
from cifar_tune.storage.numbers import give_number
from cifar_tune.storage.trial_changes import write_changes

Kind = Literal["user", "system"]
"""Of an attribute."""

CHANGED = (
    "another program changed the study in the database while it ran, so this run stops; what is finished is kept: "
    "start the same command again to go on"
)


class StudyRows:
    """The rows of one study. Only one thread may use it.

    Args:
        backend: the database.
        study: the study's id there.
    """

    def __init__(self, backend: BatchStorage, study: int) -> None:
        self._backend = backend
        self._study = study
        self._ids: list[int] = []
        self._written: dict[int, FrozenTrial] = {}  # what the database has of unfinished trials
        self._last_written: dict[int, float] = {}  # when, by the clock
        self._sent: FrozenTrial | None = None  # the newest one that was new to the database

    def __len__(self) -> int:
        """How many trials are known to be there."""
        return len(self._ids)

    def stored(self) -> list[FrozenTrial]:
        """The trials in the database by their numbers; it has them in the order in which they arrived."""
        return sorted(self._backend.get_all_trials(self._study, deepcopy=False), key=lambda trial: trial.number)

    def others(self) -> list[FrozenTrial]:
        """The trials that follow the known ones: other programs have added them."""
        found: list[FrozenTrial] = []
        with suppress(KeyError):  # there is no next one
            while True:
                number = len(self._ids) + len(found)
                theirs = self._backend.get_trial_id_from_study_id_trial_number(self._study, number)
                found.append(self._backend.get_trial(theirs))
        return found

    def know(self, trial: FrozenTrial) -> None:
        """From now on the next trial, as it was read, is known."""
        self._ids.append(trial_id(trial))
        self._remember(len(self._ids) - 1, trial)

    def write(self, number: int, trial: FrozenTrial) -> None:
        """Write what is new of a trial; of new ones the one with the next number.

        Raises:
            CheckError: if other programs have changed the study in a way that cannot be mended.
        """
        if number < len(self._ids):
            if number in self._written:
                write_changes(self._backend, self._ids[number], self._written[number], trial)
        else:
            self._sent = trial
            created, given = self._backend.create_numbered(self._study, trial)
            if given != number:  # another program was quicker
                self._give_number(created, number)
            self._ids.append(created)
        self._remember(number, trial)

    def can_wait(self, number: int, trial: FrozenTrial, seconds: float) -> bool:
        """Whether it was written within that time, and runs on: its checkpoint holds its epochs."""
        last = self._last_written.get(number)
        if trial.state != TrialState.RUNNING or last is None:
            return False
        if trial.system_attrs.keys() > self._written[number].system_attrs.keys():
            return False  # a pruner's notes, which no checkpoint holds
        return time.monotonic() - last < seconds

    def attributes(self, kind: Kind) -> dict[str, Any]:
        """The study's attributes."""
        if kind == "user":
            return self._backend.get_study_user_attrs(self._study)
        return self._backend.get_study_system_attrs(self._study)

    def write_attribute(self, kind: Kind, key: str, value: Any) -> None:
        """Set one of the study's attributes."""
        if kind == "user":
            self._backend.set_study_user_attr(self._study, key, value)
        else:
            self._backend.set_study_system_attr(self._study, key, value)

    def look_again(self) -> list[FrozenTrial]:
        """After an interruption, find out what is there, and return the trials that are ours.

        A write may have arrived although its answer did not. And a server that crashed, or another one in its place,
        may lack what had been written last. What follows was added by others.

        Raises:
            CheckError: as `write`.
        """
        stored = self.stored()
        pairs = zip(stored, self._ids, strict=False)
        known = [trial for trial, _ in takewhile(lambda both: trial_id(both[0]) == both[1], pairs)]
        if self._ids and not known:
            raise CheckError(CHANGED)
        sent = self._sent
        if sent is not None and sent.number == len(known):
            found = next((trial for trial in stored[len(known) :] if is_what_was_sent(trial, sent)), None)
            if found is not None:
                if found.number != sent.number:  # another program was quicker
                    self._give_number(trial_id(found), sent.number)
                    stored = self.stored()
                known.append(stored[sent.number])
        self._ids = [trial_id(trial) for trial in known]
        self._written = {trial.number: trial for trial in known if not trial.state.is_finished()}
        self._last_written.clear()
        return known

    def _remember(self, number: int, trial: FrozenTrial) -> None:
        if trial.state.is_finished():
            self._written.pop(number, None)
            self._last_written.pop(number, None)
        else:
            self._written[number] = trial
            self._last_written[number] = time.monotonic()

    def _give_number(self, trial: int, number: int) -> None:
        if not give_number(self._backend, self._study, trial, number):
            raise CheckError(CHANGED)
