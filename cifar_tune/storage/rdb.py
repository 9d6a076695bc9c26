"""Opens the relational database that holds the studies."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.storage.quiet import quieten_optuna
from cifar_tune.storage.urls import extra_of, shown, sqlite_file

_BUSY_SECONDS = 60


def open_storage(url: URL) -> RDBStorage:
    """Open the storage, and create its schema where there is none.

    SQLite gets a write-ahead log, `synchronous=NORMAL` and a busy timeout of a minute: readers such as the dashboard
    then never stand in the way of a running study. Other databases get pooled connections that are tested before use.

    Raises:
        UserError: if the folder of an SQLite file cannot be made, the file is no database, or a driver is missing.
        CheckError: if the database does not answer.
    """
    quieten_optuna()
    file = sqlite_file(url)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if file is not None:
        _make_folder(file)
        options = {"connect_args": {"timeout": _BUSY_SECONDS}}
    try:
        storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
        if file is not None:
            event.listen(storage.engine, "connect", _tune_sqlite)
            storage.engine.dispose()  # connections made so far were not tuned
            with storage.engine.connect():
                pass
    except ImportError as error:
        raise UserError(
            Problem(f"needs a driver; install it with: pip install 'cifar-tune[{extra_of(url)}]'", shown(url))
        ) from error
    except SQLAlchemyError as error:
        raise _unusable(url, error) from error
    except RuntimeError as error:  # Optuna's words for a schema of another version
        raise UserError(Problem(f"cannot be used: {error}", shown(url))) from error
    return storage


def open_existing(url: URL) -> RDBStorage | None:
    """Open the storage for reading; None where an SQLite file does not exist yet, and none is created."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    return open_storage(url)


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Problem(f"the folder cannot be made: {error.strerror}", str(file.parent))) from error


def _unusable(url: URL, error: SQLAlchemyError) -> UserError | CheckError:
    """The database's own words, without the SQL and without the password."""
    original = getattr(error, "orig", None) or error
    words = str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__
    if url.password:
        words = words.replace(str(url.password), "***")
    if "not a database" in words:
        return UserError(Problem("is not an SQLite database", shown(url)))
    return CheckError(f"{shown(url)} cannot be used: {words}")


def close(storage: RDBStorage) -> None:
    """Close all connections; SQLite then folds its write-ahead log into the file."""
    with suppress(SQLAlchemyError):
        storage.remove_session()
        storage.engine.dispose()
