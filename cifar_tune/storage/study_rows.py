"""One study in the database: what is known to be there, and how it is brought up to date.

A database numbers trials in the order in which they arrive, but a study in memory has numbered them already:
checkpoints and lines on the terminal carry these numbers. Where another program adds a trial at the same moment, that
trial, which nobody has seen yet, gets the later number.
"""

import json
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal

from optuna.distributions import check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select, update

from cifar_tune.errors import CheckError
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import TRIALS, Parts, naming_damage
from cifar_tune.storage import attributes
from cifar_tune.storage.damage import check_trials


def is_what_was_sent(stored: FrozenTrial, sent: FrozenTrial) -> bool:
    """Whether a trial of the database is a new one that was sent there, even if no answer came."""
    return (
        stored.state == sent.state
        and stored.params == sent.params
        and stored.intermediate_values.keys() == sent.intermediate_values.keys()
        and _plain(stored.user_attrs) == _plain(sent.user_attrs)
        and _plain(stored.system_attrs) == _plain(sent.system_attrs)
    )


def lacks_something(stored: FrozenTrial, ours: FrozenTrial) -> bool:
    """Whether a trial of the database, which can still be changed there, is not yet what it is in memory."""
    if stored.state.is_finished():
        return False
    return (
        stored.state != ours.state
        or not stored.params.keys() >= ours.params.keys()
        or not stored.intermediate_values.keys() >= ours.intermediate_values.keys()
        or _plain(stored.user_attrs | ours.user_attrs) != _plain(stored.user_attrs)
        or _plain(stored.system_attrs | ours.system_attrs) != _plain(stored.system_attrs)
    )


def _plain(attrs: dict[str, Any]) -> str:
    """A text that is the same for the same values, NaN among them."""
    return json.dumps(attrs, sort_keys=True)


def give_number(storage: RDBStorage, study: int, trial: int, number: int) -> bool:
    """Let the trial with this id have `number`, and whichever has it that of the trial: both, or neither.

    Returns:
        Whether there was another with that number; else nothing is changed.
    """
    with storage.engine.begin() as connection:
        of_study = TRIALS.c.study_id == study
        found = connection.execute(select(TRIALS.c.trial_id).where(of_study & (TRIALS.c.number == number)))
        other = found.scalar_one_or_none()
        own = connection.execute(select(TRIALS.c.number).where(TRIALS.c.trial_id == trial)).scalar_one()
        if other is None:
            return False
        for each, its_number in ((other, own), (trial, number)):
            connection.execute(update(TRIALS).where(TRIALS.c.trial_id == each).values(number=its_number))
    return True


def write_changes(backend: BatchStorage, trial_id: int, before: FrozenTrial, after: FrozenTrial) -> None:
    """Write what is new in `after`; its end is written last, since nothing can be added to a finished trial.

    Args:
        backend: the database.
        trial_id: the trial's id there.
        before: the trial as the database has it.
        after: the trial as it should be in the database.
    """
    state = before.state
    if state == TrialState.WAITING and after.state != TrialState.WAITING:
        state = TrialState.RUNNING  # on the way to any other state
        backend.set_trial_state_values(trial_id, state)
    for name, value in after.params.items():
        if name not in before.params:
            distribution = after.distributions[name]
            backend.set_trial_param(trial_id, name, distribution.to_internal_repr(value), distribution)
    there = before.intermediate_values
    reports = {step: value for step, value in after.intermediate_values.items() if step not in there}
    user, system = _new(before.user_attrs, after.user_attrs), _new(before.system_attrs, after.system_attrs)
    if reports or user or system:
        backend.add_to_trial(trial_id, reports, user, system)
    if after.state != state:
        backend.set_trial_state_values(trial_id, after.state, after.values if after.state.is_finished() else None)


def _new(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Unchanged values are the same objects in memory, so long histories are rarely compared."""
    return {
        key: value
        for key, value in after.items()
        if key not in before or (before[key] is not value and before[key] != value)
    }


Kind = Literal["user", "system"]
"""Of an attribute."""

_SURELY_STORED = timedelta(hours=1)
"""What was written so long ago is not lost by a server that crashes, or with another one that takes its place."""


def changed(what: str) -> CheckError:
    """What to raise where other programs have changed the study in a way that cannot be mended here."""
    return CheckError(
        f"another program changed the study in the database while it ran: {what}. This run stops; start the same "
        f"command again to go on with what the database has now"
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
        self._name = backend.get_study_name_from_id(study)
        self._identity = backend.get_study_user_attrs(study).get(attributes.IDENTITY)
        self._ids: list[int] = []
        self._written: dict[int, FrozenTrial] = {}  # what the database has of unfinished trials
        self._last_written: dict[int, float] = {}  # when, by the clock
        self._sent: FrozenTrial | None = None  # the newest one that was new to the database

    def __len__(self) -> int:
        """How many trials are known to be there."""
        return len(self._ids)

    def require_study(self) -> None:
        """See that the study is still there, under its name.

        Raises:
            CheckError: if it was deleted or renamed.
        """
        try:
            name = self._backend.get_study_name_from_id(self._study)
        except KeyError:
            raise CheckError(self._deletion_words()) from None
        if name != self._name:
            raise CheckError(
                f"the study {self._name!r} was renamed to {name!r} while it ran, so this run stops; nothing is lost: "
                f"go on with: cifar-tune run {shlex.quote(name)}"
            )

    def _deletion_words(self) -> str:
        studies = self._backend.get_all_studies() if self._identity else []
        for each in studies:
            if each.user_attrs.get(attributes.IDENTITY) == self._identity:  # the dashboard copies, and then deletes
                return (
                    f"the study {self._name!r} was renamed to {each.study_name!r} while it ran, so this run stops; its "
                    f"trials are kept as they were then: go on with: cifar-tune run {shlex.quote(each.study_name)}"
                )
        return (
            f"the study {self._name!r} was deleted from the database while it ran, and its trials with it, so this run "
            f"stops; the same command starts it again"
        )

    def stored(self) -> list[FrozenTrial]:
        """The trials in the database by their numbers; it has them in the order in which they arrived.

        Of those that ended long ago, histories are left out: most of a trial's memory, and seldom needed. Of others the
        database may yet be asked to take them again.
        """
        parts = Parts(left_out=attributes.HISTORY, long_ago=datetime.now() - _SURELY_STORED)
        found = sorted(self._backend.read_trials(self._study, parts=parts), key=lambda trial: trial.number)
        with naming_damage(self._name):
            check_trials(found, len(self._backend.get_study_directions(self._study)))
        return found

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
        try:
            self._write(number, trial)
        except KeyError:
            self.require_study()
            if number < len(self._ids) and self._stored_trial(number) is None:
                raise changed(f"trial {number} was deleted") from None
            raise
        except ValueError as error:
            odd = self._odd_parameter(trial)
            if odd is not None:
                raise changed(f"{odd}, and Optuna takes no other kind of it in trial {number}") from error
            raise
        self._remember(number, trial)

    def _write(self, number: int, trial: FrozenTrial) -> None:
        if number < len(self._ids):
            if number in self._written:
                write_changes(self._backend, self._ids[number], self._written[number], trial)
        else:
            self._sent = trial
            created, given = self._backend.create_numbered(self._study, trial)
            if given != number:  # another program was quicker
                self._give_number(created, number)
            self._ids.append(created)

    def read_again(self, number: int) -> FrozenTrial:
        """A known trial of another program as it stands now.

        Raises:
            CheckError: if it was deleted.
        """
        found = self._stored_trial(number)
        if found is None:
            raise changed(f"trial {number} was deleted")
        self._remember(number, found)
        return found

    def give_up(self, number: int, ours: FrozenTrial) -> FrozenTrial | None:
        """A trial that another program has ended, as it stands; from now on it is not written any more.

        Args:
            number: of the trial.
            ours: the trial as it was to be written.

        Returns:
            None if it is what was to be written, and only the answer was lost.

        Raises:
            CheckError: if it ended here too, and otherwise.
        """
        theirs = self._stored_trial(number)
        if theirs is None:
            raise changed(f"trial {number} was deleted")
        self._remember(number, theirs)
        if (theirs.state, theirs.values) == (ours.state, ours.values):
            return None
        if ours.state.is_finished():
            raise changed(f"trial {number} was ended by it at the moment at which it ended here, and that stands")
        return theirs

    def _stored_trial(self, number: int) -> FrozenTrial | None:
        """A known trial as the database has it; None if it is not there any more."""
        try:
            return self._backend.get_trial(self._ids[number])
        except KeyError:
            return None

    def _odd_parameter(self, trial: FrozenTrial) -> str | None:
        """A parameter of which another program has written another kind into the study, in words."""
        for other in self.stored():
            for name in trial.distributions.keys() & other.distributions.keys():
                try:
                    check_distribution_compatibility(other.distributions[name], trial.distributions[name])
                except ValueError:
                    return f"trial {other.number} has another kind of {name}"
        return None

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
        """Set one of the study's attributes.

        Raises:
            CheckError: if the study was deleted or renamed.
        """
        write = self._backend.set_study_user_attr if kind == "user" else self._backend.set_study_system_attr
        try:
            write(self._study, key, value)
        except KeyError:
            self.require_study()
            raise

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
            raise changed("its trials are not there any more")
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
            raise changed(f"it has no trial {number} any more")
