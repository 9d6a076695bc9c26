"""Opening a storage whose server is only just starting, or starting again."""

import time
from collections.abc import Callable

from sqlalchemy.engine import URL

from cifar_tune.errors import CheckError
from cifar_tune.optuna_internals import BatchStorage
from cifar_tune.storage.rdb import open_storage

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
)
"""Parts of what a database's driver says where nobody answers yet; a wrong password gets no second chance."""


def open_patiently(url: URL, note: Callable[[str], None], impatient: Callable[[], None]) -> BatchStorage:
    """Open the storage, waiting half a minute for a server that nobody reaches.

    Args:
        url: of the storage.
        note: is told that it takes longer.
        impatient: called now and then meanwhile; may raise.

    Raises:
        UserError: as `open_storage`.
        CheckError: likewise, or nobody was reached in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return open_storage(url)
        except CheckError as error:
            is_away = any(words in str(error) for words in _AWAY)
            if not is_away or time.monotonic() + pause > deadline:
                raise
            if pause == _FIRST_PAUSE_SECONDS:
                note(f"{error}; trying again for {PATIENCE_SECONDS:.0f} s")
        again = time.monotonic() + pause
        while time.monotonic() < again:
            impatient()
            time.sleep(_LOOK_SECONDS)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
