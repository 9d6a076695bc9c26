"""An SQLite file that is removed, replaced or moved while it is open.

SQLite goes on writing into the file that it has opened, which nobody finds any more under its name. So every use of a
connection begins with a look at the file system, by the criterion that SQLite has itself where it uses a rollback
journal (SQLITE_READONLY_DBMOVED): is the file of that name still the one that was opened?
"""

import itertools
import shlex
import sqlite3
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, event

from cifar_tune.errors import CheckError, enumerate_names
from cifar_tune.storage.urls import artifacts_folder

_DESCRIPTORS = Path("/proc/self/fd")


class DatabaseGoneError(CheckError):
    """The database is not where it was opened any more; `file` is what was opened."""

    def __init__(self, message: str, file: "OpenedFile") -> None:
        super().__init__(message)
        self.file = file


class OpenedFile:
    """The file of an SQLite database, as it was when it was opened.

    Args:
        path: of the file. It must have its journal mode already: a connection that first meets the write-ahead log when
            the file has no name any more cannot open it (SQLITE_IOERR_FSTAT, "disk I/O error").
    """

    def __init__(self, path: Path) -> None:
        self._shown = path
        self._path = path.absolute()  # the working directory may change
        self._identity = _identity(self._path)
        # SQLAlchemy closes the connections that fail; this one keeps the file open, so that it can still be read
        self._kept = sqlite3.connect(self._path, check_same_thread=False)
        self._kept.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
        beside = [Path(f"{self._path.resolve()}{ending}") for ending in ("-wal", "-shm")]
        self._companions = {file: _identity(file) for file in beside}

    def watch(self, engine: Engine) -> None:
        """Let every use of a connection fail once the file is gone, and never create another one in its place."""

        def connect(_dialect: Any, _record: Any, arguments: list[Any], keywords: dict[str, Any]) -> None:
            self.require_in_place()
            arguments[0] = f"file:{quote(str(self._path))}?mode=rw"
            keywords["uri"] = True

        def check_out(*_: Any) -> None:
            self.require_in_place()

        def let_go(*_: Any) -> None:
            self._kept.close()

        event.listen(engine, "do_connect", connect)
        event.listen(engine, "checkout", check_out)
        event.listen(engine, "engine_disposed", let_go)

    def require_in_place(self) -> None:
        """See that the file is still there, and no other one in its place.

        Raises:
            DatabaseGoneError: saying what happened to it.
        """
        try:
            now = _identity(self._path)
        except OSError:  # the file system does not answer, which is another trouble
            return
        if now == self._identity:
            return
        new_place = self._new_place()
        if new_place is not None:
            words = f"was moved to {new_place} while it was in use; nothing is lost: go on with {_option(new_place)}"
        else:
            words = f"was {'removed' if now is None else 'replaced by another file'} while it was in use"
        raise DatabaseGoneError(f"the database {self._shown} {words}", self)

    def rescue(self) -> str:
        """Save what can still be read from a file that has no name any more.

        Returns:
            The rest of the sentence that `DatabaseGoneError` began; empty for a file that was moved.
        """
        if self._new_place() is not None:
            return ""
        folder = self._path.parent if self._path.parent.is_dir() else Path.cwd()
        target = folder / f"{self._path.stem}.rescued-{datetime.now().astimezone():%Y%m%d-%H%M%S}{self._path.suffix}"
        try:
            target = _new_file(target)
            self._save(target)
        except (sqlite3.Error, OSError) as error:
            return f"; what it held could not be saved either ({error}); {self._what_is_left()}"
        if not self._path.exists():
            # all that it holds is saved, and SQLite would apply it to whatever file is put in this place
            for file, identity in self._companions.items():
                with suppress(OSError):
                    if identity is not None and _identity(file) == identity:  # not that of a new database
                        file.unlink()
        return f"; what it held is saved in {target}: go on with {_option(target)}, or put it in its place"

    def _save(self, target: Path) -> None:
        """Write the database into an empty file, which is removed if that fails."""
        try:
            self._kept.execute("VACUUM INTO ?", (str(target),))
        except BaseException:
            for file in (target, Path(f"{target}-journal")):
                file.unlink(missing_ok=True)
            raise

    def _what_is_left(self) -> str:
        left = [str(file) for file in self._companions if file.name.endswith("-wal") and file.exists()]
        if artifacts_folder().is_dir():
            left.append(f"the checkpoints in {artifacts_folder()}")
        keep = f"keep what is still there ({enumerate_names(left, 'and')}) and " if left else ""
        return f"{keep}restore the database from a backup if you have one"

    def _new_place(self) -> Path | None:
        """Where the file is now, of one that was moved; the system tells that on Linux only."""
        for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
            with suppress(OSError):  # closed meanwhile
                status = descriptor.stat()
                if (status.st_dev, status.st_ino) == self._identity and status.st_nlink:
                    place = descriptor.readlink()
                    if _identity(place) == self._identity:
                        return place
        return None


def _new_file(wanted: Path) -> Path:
    """An empty file that was not there before; its name gets a number if another process took the wanted one."""
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None if there is no such file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _option(path: Path) -> str:
    return f"--storage {shlex.quote(f'sqlite:///{path}')}"
