"""A copy of the whole database in one file, also while it is written."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.storage.rdb import without_studies
from cifar_tune.storage.urls import shown, sqlite_file, without_secrets

_BUSY_SECONDS = 60.0
_FOR_OWNER_ALONE = 0o600
_PASSWORDS = {"password": "PGPASSWORD", "passfile": "PGPASSFILE"}
"""Parameters of libpq that are handed on in the environment: everybody on a machine can read a command line."""

_MISMATCH = re.compile(r"server version: ([\d.]+).*pg_dump version: ([\d.]+)")
_SPEAKER = re.compile(r"^\s*(?:pg_dump: )?(?:(?:error|detail|hint): )?")


def back_up(url: URL, file: Path) -> int:
    """Copy the database into a new file; returns its size in bytes.

    SQLite's own online backup reads one state of the database while others write
    (https://www.sqlite.org/backup.html). PostgreSQL's is that of pg_dump, in its custom format.

    Raises:
        UserError: there is such a file already, the file cannot be written, or there is no database.
        CheckError: the database cannot be copied, or the program that does it is not installed.
    """
    if file.exists():
        raise UserError(Problem("is there already; name a new file", "FILE", str(file)))
    database = sqlite_file(url)
    if database is not None:
        if not database.is_file():
            raise UserError(Problem(f"no studies: {without_studies(url)}", shown(url)))
        return _written(file, lambda part: _copy_sqlite(database, part))
    if url.get_backend_name() != "postgresql":
        raise CheckError("MySQL and MariaDB are backed up with their own program: mysqldump --single-transaction")
    program = shutil.which("pg_dump")
    if program is None:
        rule = "pg_dump is not installed, or not in PATH; it comes with PostgreSQL, as the package postgresql-client"
        raise CheckError(rule)
    return _written(file, lambda part: _dump_postgres(program, url, part))


def _written(file: Path, write: Callable[[Path], None]) -> int:
    """Let a file be written beside its place, and put it there once it is whole."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.touch(mode=_FOR_OWNER_ALONE, exist_ok=False)
        write(part)
        _put(part, file)
        return file.stat().st_size
    except FileExistsError as error:
        raise UserError(Problem("is there already; name a new file", "FILE", str(file))) from error
    except OSError as error:
        raise UserError(Problem(f"cannot be written: {error.strerror}", "FILE", str(file))) from error
    finally:
        part.unlink(missing_ok=True)


def _put(part: Path, file: Path) -> None:
    """Give a file its name, and never that of another one.

    Raises:
        FileExistsError: another process has made a file of this name meanwhile.
    """
    try:
        os.link(part, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if file.exists():
            raise FileExistsError from None
        part.rename(file)


def _copy_sqlite(database: Path, part: Path) -> None:
    address = f"file:{quote(str(database.absolute()))}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as source,
            closing(sqlite3.connect(part)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            found = target.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        raise CheckError(f"{database} cannot be copied: {error}") from error
    if found != "ok":
        raise CheckError(f"{database} is damaged, so no copy was kept: {found}")


def _dump_postgres(program: str, url: URL, part: Path) -> None:
    query = dict(url.query)
    secrets = {name: str(query.pop(key)) for key, name in _PASSWORDS.items() if key in query}
    if url.password:
        secrets["PGPASSWORD"] = str(url.password)
    address = URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database, query=query
    )
    named = f"--dbname={address.render_as_string(hide_password=False)}"
    ended = subprocess.run(  # noqa: S603 (no shell, and a program of the system's own path)
        [program, "--format=custom", "--no-password", f"--file={part}", named],
        env={**os.environ, **secrets, "LC_ALL": "C"},  # its words are looked at
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise CheckError(_why_failed(without_secrets(ended.stderr, url), ended.returncode, program))


def _why_failed(said: str, code: int, program: str) -> str:
    """A sentence of what `pg_dump` has said: several lines, each with its own name in front."""
    mismatch = _MISMATCH.search(said)
    if mismatch is not None:
        server, dumper = mismatch.groups()
        return (
            f"{program} has version {dumper}, which is too old for this server's {server}; install that of version "
            f"{server.partition('.')[0]} or newer (postgresql-client), and put it first in PATH"
        )
    lines = [_SPEAKER.sub("", line).strip() for line in said.splitlines() if not line.startswith("pg_dump: warning:")]
    return f"pg_dump failed: {'; '.join(filter(None, lines)) or f'it ended with {code}'}"
