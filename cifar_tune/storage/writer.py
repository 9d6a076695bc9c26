"""The thread that writes a study from memory to the database, and keeps trying while the database is away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CifarTuneError, UnexpectedError
from cifar_tune.memory import uncollected
from cifar_tune.optuna_internals import StudyInMemory
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.patience import Outage
from cifar_tune.storage.study_rows import Kind, StudyRows, lacks_something
from cifar_tune.storage.urls import without_secrets

LINGER_SECONDS = 0.1
"""How long a change waits for others that can be written together with it."""

LOOK_SECONDS = 1.0
"""How often trials of other programs are looked for, at most: everything else has to be written before."""

REWRITE_SECONDS = 0.25
"""How often a trial that runs is written, at most; its checkpoint holds its epochs meanwhile."""

_TICK_SECONDS = 1.0
_HANGING_SECONDS = 10.0
_SILENT_SECONDS = 10.0
_FIRST_RETRY_SECONDS = 0.25
_LONGEST_RETRY_SECONDS = 5.0

_DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError)


class Writer:
    """Writes the trials and the attributes that were marked as changed.

    In memory, where there is one study only, a trial's id is its number.

    Args:
        backend: the database.
        study: the study's id there.
        memory: the study as it should be in the database.
        guard: called before each write, and about once per second. It raises a `CifarTuneError` if this process may
            not write any more, or a database error.
        linger: seconds for which a change waits for others.
        look: seconds after which trials of other programs are looked for again.
        rewrite: seconds after which a trial that runs is written again, unless its pruner has noted something.
        url: of the database, for messages without its password.
    """

    def __init__(
        self,
        backend: BatchStorage,
        study: int,
        memory: StudyInMemory,
        guard: Callable[[], None],
        linger: float = LINGER_SECONDS,
        look: float = LOOK_SECONDS,
        rewrite: float = REWRITE_SECONDS,
        url: URL | None = None,
    ) -> None:
        self._url = url
        self._look = look
        self._rewrite = rewrite
        self._looked = self._seen = time.monotonic()
        self._backend = backend
        self._rows = StudyRows(backend, study)
        self._memory = memory
        self._guard = guard
        self._linger = linger
        self._trials: dict[int, int] = {}  # unwritten ones, with a count of their changes
        self._attributes: dict[tuple[Kind, str], Any] = {}
        self._own_attributes: set[tuple[Kind, str]] = set()  # all that were ever marked
        self.run_elsewhere: frozenset[int] = frozenset()
        """Numbers of the trials that other programs have begun and not ended yet."""
        self._ended_elsewhere: dict[int, FrozenTrial] = {}
        self._untold: list[FrozenTrial] = []  # of these
        self._condition = threading.Condition()
        self._is_asked = False
        self._admitted: list[FrozenTrial] | None = None
        self._reading = threading.Lock()
        self._is_held = False
        self._is_closed = False
        self._is_interrupted = False  # a connection broke, maybe while nobody used it
        event.listen(backend.engine, "invalidate", self._notice_interruption)
        self._thread = threading.Thread(target=self._work, name="database", daemon=True)
        self._failed: Outage | None = None  # the newest call
        self._called: float | None = None  # when the present one began
        self.failure: CifarTuneError | None = None

    @property
    def outage(self) -> Outage | None:
        """Why and since when the database cannot be written; None while it can.

        It fails, or it says nothing: a server that was stopped still accepts connections.
        """
        called = self._called
        if self._failed is None and called is not None and time.monotonic() - called > _SILENT_SECONDS:
            return Outage(called, TimeoutError(f"it has not answered for {_SILENT_SECONDS:.0f} s"), self._url)
        return self._failed

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block in which no trial is read to be written, however long it takes; the guard is called all the same.

        For changes of trials in several steps that must not be written one without the other.
        """
        with self._reading:
            self._is_held = True
        try:
            yield
        finally:
            with self._condition:
                self._is_held = False
                self._condition.notify_all()

    def start(self) -> None:
        """Copy what the database holds into memory, then begin to write."""
        with uncollected():
            for trial in self._rows.stored():
                self._admit(trial)
        self._thread.start()

    def mark_trial(self, number: int) -> None:
        """A trial has changed."""
        with self._condition:
            self._trials[number] = self._trials.get(number, 0) + 1
            self._condition.notify_all()

    def mark_attribute(self, kind: Kind, key: str, value: Any) -> None:
        """An attribute of the study has changed."""
        with self._condition:
            self._attributes[kind, key] = value
            self._own_attributes.add((kind, key))
            self._condition.notify_all()

    def ended_elsewhere(self) -> list[FrozenTrial]:
        """Trials of ours that another program has ended, as they stand; each is returned once."""
        with self._condition:
            found, self._untold = self._untold, []
            return found

    def unwritten(self) -> frozenset[int]:
        """Numbers of the trials of which the database does not know everything yet."""
        with self._condition:
            return frozenset(self._trials)

    def admit_others(self, patience: float) -> list[FrozenTrial]:
        """Take over trials that other programs have added meanwhile, unless the database is away or too slow.

        Those that they run are followed up: they are returned again when they do not run any more.

        All trials that are new are written first, so that theirs follow ours; therefore not more often than every
        `look` seconds. Nobody may create a trial in memory while this waits.

        Args:
            patience: seconds to wait for the database.
        """
        if time.monotonic() - self._looked < self._look:
            return []
        deadline = time.monotonic() + patience
        with self._condition:
            self._admitted = None
            self._is_asked = self.outage is None
            self._condition.notify_all()
            while self._is_asked and self.failure is None and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)
            self._is_asked = False
            self._looked = time.monotonic()
            return self._admitted or []

    def flush(self, patience: float, impatient: Callable[[], bool]) -> bool:
        """Wait until everything is written, at most `patience` seconds or until `impatient`; returns whether it is."""
        deadline = time.monotonic() + patience
        with self._condition:
            while not self._is_clean() and self.failure is None and not impatient():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._condition.wait(min(left, 0.1))
            return self._is_clean()

    def close(self) -> None:
        """End the thread after the write that runs right now; what is unwritten stays so.

        One that hangs in the database is left to the end of the process.
        """
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        self._thread.join(_HANGING_SECONDS)

    def _work(self) -> None:
        try:
            self._keep_writing()
        except Exception as error:  # noqa: BLE001 (nobody else would hear of it, and all would wait for this thread)
            words = f"{type(error).__name__}: {error}"
            words = words if self._url is None else without_secrets(words, self._url)
            failure = UnexpectedError(f"the study cannot be written any more: {words}")
            failure.__cause__ = error
            self._fail(failure)

    def _keep_writing(self) -> None:
        pause = _FIRST_RETRY_SECONDS
        while self._wait_for_changes():
            self._called = time.monotonic()
            try:
                self._guard()
                self._look_at_the_connection()
                self._look_at_the_study()
                if self._failed is not None or self._is_interrupted:
                    self._compare()
                    self._is_interrupted = False
                self._write()
                if self._is_asked:
                    self._admit_others()
            except _DATABASE_ERRORS as error:
                with self._condition:
                    since = self._failed.since if self._failed else time.monotonic()
                    self._failed = Outage(since, error, self._url)
                    self._is_asked = False
                    self._called = None
                    self._condition.notify_all()
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
            except CifarTuneError as error:
                self._fail(error)
                return
            except (KeyError, UpdateFinishedTrialError, ValueError):
                if not self._is_interrupted:  # else what was known of the database no longer holds: look again
                    raise
            else:
                self._failed = None
                pause = _FIRST_RETRY_SECONDS
            finally:
                self._called = None

    def _look_at_the_connection(self) -> None:
        """Find out whether it broke while nobody used it: SQLAlchemy replaces it without a word."""
        if not self._is_clean() or self._is_asked:
            with self._backend.engine.connect():
                pass

    def _look_at_the_study(self) -> None:
        """Find out, once per second, whether another program has deleted or renamed it."""
        if self._failed is not None or time.monotonic() - self._seen >= _TICK_SECONDS:
            self._rows.require_study()
            self._seen = time.monotonic()

    def _notice_interruption(self, *_: object) -> None:
        self._is_interrupted = True

    def _wait_for_changes(self) -> bool:
        """Wait for something to do, or a second; False when the thread is to end."""
        with self._condition:
            if self._is_clean() and not self._is_closed and not self._is_asked:
                self._condition.wait(_TICK_SECONDS)
            has_changes = not self._is_clean()
        if has_changes and self.outage is None:
            self._sleep(self._linger)
        return not self._is_closed

    def _sleep(self, seconds: float) -> None:
        """Wait, unless the end comes first, or somebody waits."""
        deadline = time.monotonic() + seconds
        with self._condition:
            while not self._is_closed and not self._is_asked and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)

    def _write(self) -> None:
        with self._condition:
            trials = sorted(self._trials.items())
            attributes = dict(self._attributes)
        for number, changes in trials:
            trial = self._read(number)
            if trial is None or self._is_closed:
                return
            if self._rows.can_wait(number, trial, self._rewrite):
                continue
            self._called = time.monotonic()
            self._guard()  # again for each: writing many may outlast what was allowed
            if number not in self._ended_elsewhere:
                self._write_trial(number, trial)
            with self._condition:
                if self._trials[number] == changes:
                    del self._trials[number]
                self._condition.notify_all()
        for (kind, key), value in attributes.items():
            if self._is_closed:
                return
            self._called = time.monotonic()
            self._rows.write_attribute(kind, key, value)
            with self._condition:
                if self._attributes[kind, key] is value:
                    del self._attributes[kind, key]
                self._condition.notify_all()

    def _write_trial(self, number: int, trial: FrozenTrial) -> None:
        try:
            self._rows.write(number, trial)
        except UpdateFinishedTrialError:
            if self._is_interrupted:
                raise
            self._give_up(number, trial)

    def _give_up(self, number: int, ours: FrozenTrial) -> None:
        theirs = self._rows.give_up(number, ours)
        if theirs is not None:
            with self._condition:
                self._ended_elsewhere[number] = theirs
                self._untold.append(theirs)

    def _read(self, number: int) -> FrozenTrial | None:
        """A trial of the memory; None if somebody holds it back for longer than the guard should wait."""
        deadline = time.monotonic() + _TICK_SECONDS
        while True:
            with self._reading:
                if not self._is_held:
                    return self._memory.get_trial(number)
            with self._condition:
                while self._is_held and (left := deadline - time.monotonic()) > 0:
                    self._condition.wait(left)
                if self._is_held:
                    return None

    def _admit(self, trial: FrozenTrial) -> None:
        """Take a trial of the database into memory."""
        self._rows.know(trial)
        self._memory.take(trial)

    def _admit_others(self) -> None:
        """Admit the trials that follow ours in the database, if the one who asked still waits."""
        found = self._rows.others()
        again = [self._rows.read_again(number) for number in sorted(self.run_elsewhere)]
        no_longer = [trial for trial in again if trial.state != TrialState.RUNNING]
        with self._condition:
            if self._is_asked and len(self._rows) == self._memory.get_n_trials(0):
                for trial in found:
                    self._admit(trial)
                for trial in no_longer:
                    self._memory.bring_up_to_date(trial)
                begun = {trial.number for trial in found if trial.state == TrialState.RUNNING}
                self.run_elsewhere = (self.run_elsewhere | begun) - {trial.number for trial in no_longer}
                self._admitted = [*no_longer, *found]
                self._is_asked = False
                self._condition.notify_all()

    def _compare(self) -> None:
        """After an interruption, find out what the database has, and mark what it lacks."""
        known = self._rows.look_again()
        ours = self._memory.get_all_trials(0, deepcopy=False)
        for trial in known:
            if trial.state.is_finished() and not ours[trial.number].state.is_finished():
                self._give_up(trial.number, ours[trial.number])
        missing = [*range(len(known), len(ours))]
        missing += [number for number, trial in enumerate(known) if lacks_something(trial, ours[number])]
        user, system = self._rows.attributes("user"), self._rows.attributes("system")
        with self._condition:
            for number in missing:
                self._trials.setdefault(number, 1)
            for key, value in dict(self._memory.get_study_user_attrs(0)).items():
                self._mark_if_lacking("user", key, value, user)
            for key, value in dict(self._memory.get_study_system_attrs(0)).items():
                self._mark_if_lacking("system", key, value, system)

    def _mark_if_lacking(self, kind: Kind, key: str, value: Any, stored: dict[str, Any]) -> None:
        """Other programs may have changed attributes that are not ours, so these are but put back."""
        if key not in stored or ((kind, key) in self._own_attributes and stored[key] != value):
            self._attributes.setdefault((kind, key), value)

    def _fail(self, error: CifarTuneError) -> None:
        with self._condition:
            self.failure = error
            self._condition.notify_all()

    def _is_clean(self) -> bool:
        return not self._trials and not self._attributes and not self._is_interrupted
