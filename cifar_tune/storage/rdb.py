"""Opens the relational database that holds the studies."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from cifar_tune.errors import CheckError, Problem, UserError, enumerate_names
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import STUDIES
from cifar_tune.storage.damage import CheckedStorage
from cifar_tune.storage.foreign_tables import has_studies, refuse_foreign_tables
from cifar_tune.storage.opened_file import OpenedFile
from cifar_tune.storage.urls import driver_advice, shown, sqlite_file, without_secrets

_BUSY_SECONDS = 60
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
_LIMITS = {
    "psycopg": {
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": 1000 * _ANSWER_SECONDS,
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 4,
    },
    "pymysql": {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _ANSWER_SECONDS,
        "write_timeout": _ANSWER_SECONDS,
    },
}
"""What libpq and PyMySQL call them; libpq counts `tcp_user_timeout` in milliseconds."""
_OF_SERVERS = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
"""A transaction sees what others have committed before each of its statements, also on MySQL, where it would otherwise
go on with what was true at its first one."""

_UNDONE = ("40P01", "40001", 1213)
"""Codes of PostgreSQL and MySQL."""

_ATTEMPTS = 5
_ADVICE = (
    "see that the server runs, and that --storage or CIFAR_TUNE_STORAGE names it rightly; then start the same again"
)


def open_storage(url: URL, is_durable: bool = False) -> BatchStorage:
    """Open the storage, and create its schema where there is none.

    SQLite gets a write-ahead log, `synchronous=NORMAL` and a busy timeout of a minute: readers such as the dashboard
    then never stand in the way of a running study. Other databases get pooled connections that are tested before use.

    Args:
        url: of the database.
        is_durable: whether a commit must outlast a power cut, as when somebody was told that it is done. SQLite then
            has `synchronous=FULL`. With NORMAL the last commits may be missing afterwards, and the file is whole:
            trials are trained again from their checkpoints. Other databases do this anyway.

    Raises:
        UserError: if the folder of an SQLite file cannot be made, the file is no database, another program uses the
            database, or a driver is missing.
        CheckError: if the database does not answer.
    """
    file = sqlite_file(url)
    if file is not None:
        _require_plain(file, url)
        _make_folder(file)
    options = _OF_SERVERS if file is None else _options(url)
    with _readable_errors(url):
        if file is None or file.exists():
            refuse_foreign_tables(_impatient(url), _options(url))
        storage = _create(_impatient(url), options)
        if file is not None:
            event.listen(storage.engine, "connect", _tune_sqlite_durably if is_durable else _tune_sqlite)
            storage.engine.dispose()  # connections made so far were not tuned
            with storage.engine.connect():  # switches a new file to its write-ahead log
                opened = OpenedFile(file)
            opened.watch(storage.engine)
        storage.write_at_once()
    return storage


def open_existing(url: URL, is_durable: bool = False) -> BatchStorage | None:
    """Open the storage for reading; None where an SQLite file does not exist yet, or there are no tables of studies.

    No file is created, and no tables. `is_durable` as for `open_storage`.

    Raises:
        UserError: as `open_storage`.
        CheckError: likewise.
    """
    file = sqlite_file(url)
    if file is not None:
        _require_plain(file, url)
        may_hold_studies = file.exists() and _may_hold_studies(file)
    else:
        with _readable_errors(url):
            may_hold_studies = has_studies(_impatient(url), _options(url))
    return open_storage(url, is_durable) if may_hold_studies else None


@contextmanager
def _readable_errors(url: URL) -> Iterator[None]:
    """Say in our words why a database cannot be opened."""
    try:
        yield
    except (ImportError, NoSuchModuleError) as error:
        raise UserError(Problem(f"its driver is not installed; {driver_advice(url)}", shown(url))) from error
    except SQLAlchemyError as error:
        raise unusable(url, error) from error
    except StorageInternalError as error:
        raise unusable(url, error.__cause__ or error) from error
    except AssertionError as error:
        rule = "cannot be used: the version of Optuna's tables is missing in it; go on with a copy from before"
        raise UserError(Problem(rule, shown(url))) from error
    except RuntimeError as error:  # Optuna's words for a schema of another version
        raise UserError(Problem(f"cannot be used: {without_secrets(str(error), url)}", shown(url))) from error
    except (TypeError, ValueError) as error:  # a driver's words for a parameter that it does not know, or its value
        if not url.query:
            raise
        names = enumerate_names(sorted(url.query), "and")
        rule = f"its driver refuses one of the parameters {names}: {without_secrets(str(error), url)}"
        raise UserError(Problem(rule, shown(url))) from error


def _options(url: URL) -> dict[str, Any]:
    """For SQLAlchemy's `create_engine`, whatever the connections are for."""
    return {"connect_args": {"timeout": _BUSY_SECONDS}} if sqlite_file(url) else {}


def _may_hold_studies(file: Path) -> bool:
    """Whether an SQLite file has Optuna's tables; what cannot be read is left to `open_storage` to refuse."""
    try:
        address = f"file:{quote(str(file))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (STUDIES.name,)).fetchone()
    except sqlite3.DatabaseError:
        return True
    return found is not None


def _impatient(url: URL) -> URL:
    """The URL with limits to how long connecting and an answer may take; what it says itself stands.

    A wrong host would hold us up for minutes, and a network that swallows everything for ever.
    """
    limits = _LIMITS.get(url.get_driver_name(), {})
    return url.update_query_dict({name: str(limit) for name, limit in limits.items() if name not in url.query})


def _create(url: URL, options: dict[str, Any]) -> BatchStorage:
    """Optuna's storage, with its schema created where there is none.

    Optuna looks whether a table is there and then creates it, so processes that open a new database at the same time
    get into each other's way; whoever comes too late finds everything in place when it looks again.
    """
    for _ in range(_ATTEMPTS - 1):
        began = time.monotonic()
        try:
            return CheckedStorage(url.render_as_string(hide_password=False), engine_kwargs=dict(options))
        except SQLAlchemyError as error:
            is_late = isinstance(error, IntegrityError) or "already exists" in str(error)
            if not is_late and not _is_refused_at_once(error, began):
                raise
        time.sleep(0.2)
    return CheckedStorage(url.render_as_string(hide_password=False), engine_kwargs=dict(options))


def _tune_sqlite(connection: Any, _record: object) -> None:
    _tune(connection, "NORMAL")


def _tune_sqlite_durably(connection: Any, _record: object) -> None:
    _tune(connection, "FULL")


def _tune(connection: Any, synchronous: str) -> None:
    cursor = connection.cursor()
    _switch_to_write_ahead(cursor)
    cursor.execute(f"PRAGMA synchronous={synchronous}")
    cursor.close()


def _switch_to_write_ahead(cursor: Any) -> None:
    for _ in range(_ATTEMPTS - 1):
        began = time.monotonic()
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not _is_refused_at_once(error, began):
                raise
        else:
            return
        time.sleep(0.2)
    cursor.execute("PRAGMA journal_mode=WAL")


def _is_refused_at_once(error: Exception, began: float) -> bool:
    """Whether SQLite has not even waited for a lock, as where two processes hold what the other one needs."""
    return "is locked" in str(error) and time.monotonic() - began < _BUSY_SECONDS / 2


def _require_plain(file: Path, url: URL) -> None:
    if file.is_dir():
        raise UserError(Problem(f"is a folder; name a file in it, such as {shown(url)}/studies.db", shown(url)))
    if file.exists() and not file.is_file():
        raise UserError(Problem("is a device or a pipe, no file that could hold studies", shown(url)))


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Problem(f"the folder cannot be made: {error.strerror}", str(file.parent))) from error


def own_words(error: BaseException) -> str:
    """What the database itself said, without the SQL, on one line."""
    original = getattr(error, "orig", None) or error
    match getattr(original, "args", ()):
        case (int(), str(words)):  # PyMySQL puts a number before them
            pass
        case _:
            words = str(original)
    return (words.strip().splitlines() or [type(original).__name__])[0]


def is_undone_for_others(error: DBAPIError) -> bool:
    """Whether the database has undone a transaction since others were in its way; the same can be tried at once."""
    codes = (getattr(error.orig, "sqlstate", None), *getattr(error.orig, "args", ())[:1])
    return any(code in _UNDONE for code in codes)


def unusable(url: URL, error: BaseException) -> UserError | CheckError:
    """The database's own words, without the SQL and without the password."""
    words = own_words(error)
    if "not a database" in words:
        return UserError(Problem("is not an SQLite database", shown(url)))
    if "unable to open database file" in words:
        return UserError(Problem("is no file that can be opened and written", shown(url)))
    advice = "" if sqlite_file(url) else f"; {_ADVICE}"
    return CheckError(f"{shown(url)} cannot be used: {without_secrets(words, url)}{advice}")


def without_studies(url: URL) -> str:
    """Why `open_existing` finds nothing to open, as the end of a sentence."""
    file = sqlite_file(url)
    if file is None:
        return "the database holds none"
    return "the file holds none" if file.exists() else "there is no such file yet"


def close(storage: RDBStorage) -> None:
    """Close all connections; SQLite then folds its write-ahead log into the file."""
    with suppress(SQLAlchemyError):
        storage.remove_session()
        storage.engine.dispose()
