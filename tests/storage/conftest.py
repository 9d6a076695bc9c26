"""A real SQLite file, a real PostgreSQL server from a wheel, and MariaDB or MySQL where a server is named."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import optuna
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.storage.write_behind import WriteBehindStorage
from tests.postgres import create_database
from tests.storage.flaky import Flaky

FreshUrl = Callable[[], URL]
_NUMBERS = itertools.count()
_TEMPLATE = "with_schema"
_BACKENDS = ["sqlite", "postgresql", "mysql"]
MYSQL_VARIABLE = "CIFAR_TUNE_TEST_MYSQL"
"""URL of a MariaDB or MySQL server on which databases may be created, such as mysql://root@127.0.0.1:3306."""


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with a schema, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / f"{_TEMPLATE}.db"
    close(open_storage(storage_url(f"sqlite:///{file}")))
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """A PostgreSQL database with a schema, to be copied."""
    close(open_storage(create_database(postgres, _TEMPLATE, stays=True)))
    return _TEMPLATE


@pytest.fixture
def mysql() -> Iterator[FreshUrl]:
    """Makes databases on the server that the variable names, and drops them afterwards."""
    with mysql_databases() as create:
        yield create


@contextmanager
def mysql_databases() -> Iterator[FreshUrl]:
    """The same for fixtures that live longer than a test."""
    given = os.environ.get(MYSQL_VARIABLE)
    if not given:
        pytest.skip(f"{MYSQL_VARIABLE} names no MariaDB or MySQL server")
    pytest.importorskip("pymysql", reason="needs pymysql: pip install 'cifar-tune[mysql]'")
    server = storage_url(given)
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def create() -> URL:
        made.append(f"cifar_tune_test_{os.getpid()}_{next(_NUMBERS)}")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {made[-1]}"))
        return server.set(database=made[-1])

    yield create
    with engine.connect() as connection:
        for name in made:
            connection.execute(text(f"DROP DATABASE {name}"))
    engine.dispose()


@pytest.fixture(params=_BACKENDS)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> FreshUrl:
    """Makes databases without a schema, a new one each time."""
    if request.param == "sqlite":
        return lambda: storage_url(f"sqlite:///{tmp_path}/{next(_NUMBERS)}.db")
    if request.param == "mysql":
        create: FreshUrl = request.getfixturevalue("mysql")
        return create
    server: str = request.getfixturevalue("postgres")
    return lambda: create_database(server, f"fresh_{next(_NUMBERS)}")


@pytest.fixture(params=_BACKENDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """A database with its schema."""
    if request.param == "sqlite":
        copy = tmp_path / "copy.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), copy)
        return storage_url(f"sqlite:///{copy}")
    if request.param == "mysql":
        create: FreshUrl = request.getfixturevalue("mysql")
        url = create()
        close(open_storage(url))
        return url
    template: str = request.getfixturevalue("postgres_template")
    return create_database(request.getfixturevalue("postgres"), f"copy_{next(_NUMBERS)}", template)


@pytest.fixture
def rdb(database: URL) -> Iterator[BatchStorage]:
    """A database with one study, named s."""
    storage = open_storage(database)
    optuna.create_study(storage=storage, study_name="s", direction="maximize")
    yield storage
    close(storage)


@pytest.fixture
def flaky(rdb: BatchStorage) -> Flaky:
    """The same database behind an unreliable line."""
    return Flaky(rdb)


@pytest.fixture
def memory(flaky: Flaky) -> Iterator[WriteBehindStorage]:
    """The study in memory."""
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=0.01, look=0.0, rewrite=0.0)
    yield storage
    storage.close()
