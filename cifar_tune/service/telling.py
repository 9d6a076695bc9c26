"""Tells people how their submitted studies go: that one has ended, has failed, has a new best, or waits for long.

A thread of the server does this, so nothing else ever waits for a slow address. It remembers in the database up to
which event people were told. An address that does not answer is tried again, later and later; a server that was stopped
meanwhile begins there again, so an address may be told twice, and never less than once while tries are left.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event as Flag
from threading import Thread

from optuna.exceptions import StorageInternalError
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from cifar_tune.errors import CheckError, DamagedError, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import audit, submissions
from cifar_tune.service.addresses import Message, NotToldError, tell
from cifar_tune.service.messages import about, best_message, end_message, waiting_message
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import COUNTERS, SERVER_LEASE
from cifar_tune.storage.overview import overview
from cifar_tune.study_spec.notify import shown

LONG_SECONDS = 3600.0
"""Whoever waits for longer is told so."""

PAUSES = (10.0, 60.0, 300.0, 1800.0, 7200.0)
"""Seconds between the tries of an address that does not answer; then it is given up."""

BEST_SECONDS = 600.0
"""A new best is told so often at most: at the beginning every second trial is one."""

_COUNTER = "told"
_LOOK_SECONDS = 2.0
_AT_ONCE = 200


@dataclass(slots=True)
class _Letter:
    """Something that one address is still to be told. `event` is 0 where no event is behind it."""

    event: int
    address: str
    message: Message
    study: str
    due: float
    tries: int = 0


class Teller:
    """Lets people know. Let it `look` now and then.

    Args:
        storage: of the studies, which has the tables of the service.
        secret: by which webhooks are signed; empty: they are not.
    """

    def __init__(self, storage: BatchStorage, secret: str) -> None:
        self._storage = storage
        self._engine = storage.engine
        self._secret = secret
        self._letters: list[_Letter] = []
        self._seen: int | None = None
        self._told: int | None = None
        self._waiting: set[tuple[int, float]] = set()
        self._bests: dict[int, tuple[float, int | None]] = {}

    def look(self, now: float) -> None:
        """See what has happened, and tell whom it concerns; a slow address takes some seconds.

        Args:
            now: seconds since the epoch.

        Raises:
            SQLAlchemyError: the database cannot be used; the next look goes on from there.
        """
        if self._seen is None:
            with self._engine.begin() as connection:
                newest = _remembered(connection)
            self._seen = self._told = newest  # once that is written
        with self._engine.connect() as connection:
            events = audit.read(connection, self._seen, _AT_ONCE)
            for event in events:
                if event.action == "end":
                    found = _ended(connection, event)
                    if found is not None:
                        message = end_message(str(event.id), about(found), found.state)
                        self._write_letters(event.id, found, message, now)
                self._seen = event.id  # now, so that what goes wrong later does not let it be told twice
            self._write_about_waiting(connection, now)
            running = submissions.select_submissions(connection, ["running"])
        self._write_about_bests([each for each in running if each.notify], now)
        for letter in [each for each in self._letters if each.due <= now]:
            self._send(letter, now)
        self._remember()

    def _write_letters(self, event: int, submission: Submission, message: Message, now: float) -> None:
        self._letters += [_Letter(event, each, message, submission.study, now) for each in submission.notify]

    def _write_about_waiting(self, connection: Connection, now: float) -> None:
        waiting = submissions.select_submissions(connection, ["queued"])
        long = {(each.id, each.waiting_since): each for each in waiting if now - each.waiting_since >= LONG_SECONDS}
        for key in long.keys() - self._waiting:
            found = long[key]
            name = f"waits-{found.id}-{int(found.waiting_since)}"
            message = waiting_message(name, about(found), now - found.waiting_since)
            self._write_letters(0, found, message, now)
        self._waiting = set(long)

    def _write_about_bests(self, running: Sequence[Submission], now: float) -> None:
        """Look for new bests; of a study that is seen for the first time, the present best is an old one."""
        self._bests = {each.id: self._bests[each.id] for each in running if each.id in self._bests}
        for each in running:
            looked, before = self._bests.get(each.id, (-math.inf, None))
            if now - looked < BEST_SECONDS:
                continue
            with suppress(UserError, DamagedError):  # it has not begun, or cannot be read, which others say
                seen = overview(self._storage, each.study)
                if seen.spec.has_several_objectives:
                    continue
                best = None if seen.best is None else seen.best.number
                is_new = looked > -math.inf and best is not None and best != before
                if is_new and seen.best is not None:
                    name, metric = f"best-{each.id}-{seen.best.number}", seen.spec.objective.metric
                    message = best_message(name, about(each), metric, seen.best.values[0], seen.best.number)
                    self._write_letters(0, each, message, now)
                self._bests[each.id] = (now, best)

    def _send(self, letter: _Letter, now: float) -> None:
        try:
            tell(letter.address, letter.message, self._secret, now)
        except NotToldError as error:
            if letter.tries < len(PAUSES):
                letter.due = now + PAUSES[letter.tries]
                letter.tries += 1
                return
            detail = {"address": shown(letter.address), "why": str(error), "tries": letter.tries + 1}
            with self._engine.begin() as connection:
                audit.note(connection, SERVER_LEASE, "notify", letter.study, "failed", detail)
        self._letters.remove(letter)

    def _remember(self) -> None:
        """Write up to which event all has been told, or given up."""
        told = min([each.event - 1 for each in self._letters if each.event], default=self._seen)
        if told != self._told:
            with self._engine.begin() as connection:
                connection.execute(update(COUNTERS).where(COUNTERS.c.name == _COUNTER).values(value=told))
            self._told = told


@contextmanager
def telling(storage: BatchStorage, secret: str, say: Callable[[str], None]) -> Iterator[None]:
    """Tell people inside the block, in a thread.

    Args:
        storage: of the studies.
        secret: as for `Teller`.
        say: is given a sentence on what prevents that.
    """
    done, teller = Flag(), Teller(storage, secret)

    def look() -> None:
        said = ""
        while not done.wait(_LOOK_SECONDS):
            try:
                teller.look(time.time())
            except (OperationalError, InterfaceError, StorageInternalError, CheckError):
                continue  # the database is away
            except Exception as error:  # noqa: BLE001 (else nobody would be told anything any more, nor why)
                words = f"people could not be told about their studies ({type(error).__name__}); this is tried again"
                if words != said:
                    say(words)
                said = words

    Thread(target=look, name="telling", daemon=True).start()
    try:
        yield
    finally:
        done.set()  # what is being sent is sent again by the next server


def _remembered(connection: Connection) -> int:
    """The number of the event up to which people were told; the first time, that of the newest event."""
    found = connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == _COUNTER)).scalar_one_or_none()
    if found is not None:
        return int(found)
    newest = audit.last(connection)
    connection.execute(insert(COUNTERS).values(name=_COUNTER, value=newest))
    return newest


def _ended(connection: Connection, event: audit.Event) -> Submission | None:
    """The submission whose end the event tells; the study may have been submitted again since."""
    number = event.detail.get("submission")
    if isinstance(number, int):
        return submissions.find(connection, number)
    found = submissions.newest(connection, event.target or "")  # of a server of an earlier version
    return found if found is not None and not found.is_living else None
