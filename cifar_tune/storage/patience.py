"""Waits for a database server that is starting, or that goes away for a while.

A command that trains for hours must not end because a server is restarted beside it. While trials run, the writer
(`storage.writer`) goes on in the background. All that comes before and after is a row of steps, each of which goes on
where a killed run left it. So a step that an outage has cut off is taken again from its beginning.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.rdb import open_storage, own_words, unusable
from cifar_tune.storage.urls import sqlite_file, without_secrets

Result = TypeVar("Result")

PATIENCE_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 4.0
_LOOK_SECONDS = 0.1

_AWAY = (
    "Connection refused",
    "starting up",  # PostgreSQL, after the connection is made
    "shutting down",
    "not yet accepting connections",  # after a crash
    "in recovery mode",  # likewise
    "No such file or directory",  # the socket of a server on this machine
    "Can't connect to MySQL server",
    "Lost connection to MySQL server",
    "server closed the connection",
    "due to administrator command",  # it is being stopped or restarted, with open connections
)
"""Parts of what a database's driver says where nobody answers yet; a wrong password gets no second chance."""

_FILE_AWAY = ("is full", "is locked", "disk I/O error")
"""Parts of what SQLite says where it may go on later."""

_FOR_A_WHILE = (SQLAlchemyError, StorageInternalError, CheckError)


def open_patiently(
    url: URL, note: Callable[[str], None], impatient: Callable[[], None], is_durable: bool = False
) -> BatchStorage:
    """Open the storage, waiting half a minute for a server that nobody reaches.

    Args:
        url: of the storage.
        note: is told that it takes longer.
        impatient: called now and then meanwhile; may raise.
        is_durable: as for `open_storage`.

    Raises:
        UserError: as `open_storage`.
        CheckError: likewise, or nobody was reached in time.
    """
    return at_first(lambda: open_storage(url, is_durable), url, note, impatient)


def at_first(
    step: Callable[[], Result], url: URL, note: Callable[[str], None], impatient: Callable[[], None]
) -> Result:
    """Take the first step that needs the database, as patiently as `open_patiently`.

    Raises:
        CheckError: it cannot be used.
    """

    def told(error: Exception, is_first: bool) -> bool:
        is_away = any(words in str(error) for words in _AWAY)
        if is_away and is_first:
            shown_error = error if isinstance(error, CheckError) else unusable(url, _cause(error))
            note(f"{shown_error}; trying again for {PATIENCE_SECONDS:.0f} s")
        return is_away

    try:
        return _repeated(step, told, PATIENCE_SECONDS, impatient)
    except (SQLAlchemyError, StorageInternalError) as error:
        raise unusable(url, _cause(error)) from error


@dataclass(frozen=True, slots=True)
class Outage:
    """The database cannot be written since `since` (seconds of `time.monotonic`); `error` is its last answer.

    `url` is that of the database, whose password must not be repeated.
    """

    since: float
    error: BaseException
    url: URL | None = None

    @property
    def words(self) -> str:
        """The database's own words, on one line, without its password."""
        words = own_words(self.error.__cause__ or self.error)
        return words if self.url is None else without_secrets(words, self.url)


class Patience:
    """Takes the steps of a command that need the database, and waits where its server goes away meanwhile.

    The server was reached before, so whatever it says when it is away counts as such, and it is waited for until it is
    back.

    Args:
        url: of the database.
        note: is told when it goes away, and when it is back.
        impatient: called now and then while it is away; may raise.

    Attributes:
        renew: called when it is back, before a step is taken again, such as `Lease.renew`: another process may have
            taken over the study meanwhile.
        waits_for_files: whether an SQLite file is waited for too, whose disk is full, or which another program locks
            for more than the minute that SQLite itself waits. Where little would be lost, it is better to say so at
            once.
    """

    def __init__(self, url: URL, note: Callable[[str], None], impatient: Callable[[], None]) -> None:
        self._url = url
        self._note = note
        self._impatient = impatient
        self.renew: Callable[[], object] = lambda: None
        self.waits_for_files = False

    def take(self, step: Callable[[], Result], longest: float = math.inf) -> Result:
        """Take a step, again from its beginning for as long as the server is away; returns what the step returns.

        Args:
            step: goes on where an earlier call was cut off in the middle, by a kill or by the server.
            longest: seconds to wait at most.

        Raises:
            SQLAlchemyError: the server stayed away for longer, or the error is of another kind.
            StorageInternalError: likewise.
        """
        since: float | None = None

        def told(error: Exception, is_first: bool) -> bool:
            nonlocal since
            if not self.is_outage(error):
                return False
            if is_first:
                since = time.monotonic()
                self._note(away(self.words(error), "waiting until it is back"))
            return True

        def taken() -> Result:
            if since is not None:
                self.renew()
            return step()

        result = _repeated(taken, told, longest, self._impatient)
        if since is not None:
            self._note(back(since))
        return result

    def is_outage(self, error: BaseException) -> bool:
        """Whether this says that the server does not answer, or accepts no writes for a while."""
        if not isinstance(_cause(error), OperationalError | InterfaceError):
            return False
        if sqlite_file(self._url) is None:
            return True
        return self.waits_for_files and any(words in self.words(error) for words in _FILE_AWAY)

    def words(self, error: BaseException) -> str:
        """What the database said, on one line and without its password."""
        return without_secrets(own_words(_cause(error)), self._url)


def away(words: str, meanwhile: str) -> str:
    """How people are told that the database cannot be used, in its own `words`, and what happens `meanwhile`."""
    return f"the database accepts no writes ({words}): {meanwhile}"


def back(since: float) -> str:
    """The same when it can be used again, after an outage that began at `since` (seconds of `time.monotonic`)."""
    return f"the database is back after {time.monotonic() - since:.0f} s"


def _cause(error: BaseException) -> BaseException:
    """The driver's error behind that of Optuna, or behind ours."""
    return error if isinstance(error, SQLAlchemyError) or error.__cause__ is None else error.__cause__


def _repeated(
    step: Callable[[], Result], told: Callable[[Exception, bool], bool], longest: float, impatient: Callable[[], None]
) -> Result:
    """Take a step until it succeeds, or fails in a way that waiting does not mend.

    Args:
        step: is taken.
        told: of each error, and whether it is the first; says whether to wait.
        longest: seconds after which an error is raised.
        impatient: called meanwhile; may raise.
    """
    deadline = time.monotonic() + longest
    pause, is_first = _FIRST_PAUSE_SECONDS, True
    while True:
        try:
            return step()
        except _FOR_A_WHILE as error:
            if time.monotonic() + pause > deadline or not told(error, is_first):
                raise
        is_first = False
        again = time.monotonic() + pause
        while time.monotonic() < again:
            impatient()
            time.sleep(_LOOK_SECONDS)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
