"""The number of the newest event, for a server that asks for it at each request."""

import sqlite3
import weakref
from pathlib import Path
from threading import Lock

from sqlalchemy import Engine, event

from cifar_tune.service.audit import last, newest_number
from cifar_tune.storage.urls import sqlite_file


class NewestEvent:
    """Reads the number of the newest event.

    SQLite answers in microseconds. A thread, a connection of the pool and SQLAlchemy around it cost a hundred times as
    much, so `peek` asks SQLite directly. Its connection never waits for a lock.

    Args:
        engine: of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file = None if engine.url.query else sqlite_file(engine.url)
        self._lock = Lock()
        self._direct: _Direct | None = None

    def read(self) -> int:
        """The number. Reads the database, so that it blocks.

        Raises:
            SQLAlchemyError: the database cannot be used.
            DatabaseGoneError: its file was moved, replaced or removed.
        """
        with self._engine.connect() as connection:
            found = last(connection)
        if self._file is not None:
            with self._lock:
                if self._direct is None or not self._direct.is_open:
                    self._direct = _Direct(self._engine, self._file)
        return found

    def peek(self) -> int | None:
        """The number, at once; None where only `read` can tell, as always on a database server."""
        return None if self._direct is None else self._direct.number()


class _Direct:
    """A connection to an SQLite file outside of the pool.

    Args:
        engine: of the database.
        file: of the database.
    """

    def __init__(self, engine: Engine, file: Path) -> None:
        self._file = file.absolute()
        pooled = engine.raw_connection()  # so it was opened, and its file looked at, as all others are
        pooled.detach()
        self._connection: sqlite3.Connection = pooled.dbapi_connection  # type: ignore[assignment]
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._place = _place(self._file)
        self._statement = str(newest_number().compile(engine, compile_kwargs={"literal_binds": True}))
        self._finalizer = finalizer = weakref.finalize(self, self._connection.close)
        event.listen(engine, "engine_disposed", lambda _: finalizer())

    @property
    def is_open(self) -> bool:
        """Whether the engine was not disposed of since."""
        return self._finalizer.alive

    def number(self) -> int | None:
        """The number; None if the file is another one, or somebody holds a lock that stands in the way."""
        try:
            if self._place is None or _place(self._file) != self._place:
                return None
            rows = self._connection.execute(self._statement).fetchall()
        except (sqlite3.Error, OSError):
            return None
        return int(rows[0][0]) if rows else None


def _place(file: Path) -> tuple[int, int] | None:
    """Device and inode; None if there is no such file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
