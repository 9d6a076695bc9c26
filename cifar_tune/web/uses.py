"""When tokens were used the last time: noted in memory, and written into the database for many at once.

Each write is a transaction that reaches the disk before it ends, and that trials wait for. With many people, one for
each of them would come several times per second.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Timer

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.people import write_uses

_AGAIN_SECONDS = 60.0
"""A token that is used all the time is noted once in so long."""

_WRITE_SECONDS = 5.0


class Uses:
    """Those of the tokens of a server.

    Args:
        engine: of the database.
        seconds: from the first use that is noted until all are written.
        clock: seconds since the epoch.
    """

    def __init__(self, engine: Engine, seconds: float = _WRITE_SECONDS, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._seconds = seconds
        self._clock = clock
        self._noted: dict[int, float] = {}
        self._unwritten: dict[int, float] = {}
        self._timer: Timer | None = None
        self._lock = Lock()

    def note(self, token: int) -> None:
        """Note that a token is used at this moment. Costs next to nothing, and never fails."""
        now = self._clock()
        if abs(now - self._noted.get(token, float("-inf"))) < _AGAIN_SECONDS:
            return
        with self._lock:
            self._noted[token] = self._unwritten[token] = now
            if self._timer is None:
                timer = Timer(self._seconds, self.write)
                timer.daemon = True
                with suppress(RuntimeError):  # there can be no more threads now; the next use tries it again
                    timer.start()
                    self._timer = timer

    def write(self) -> None:
        """Write what was noted; what cannot be written is tried again with what is noted next."""
        with self._lock:
            uses, self._unwritten = self._unwritten, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        try:
            write_uses(self._engine, uses)
        except (SQLAlchemyError, CifarTuneError):
            with self._lock:
                self._unwritten = {**uses, **self._unwritten}
