"""A real SQLite file, a real PostgreSQL server and, where there is one, MariaDB or MySQL, with the service's tables."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor, Role
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.postgres import create_database
from tests.storage.conftest import FreshUrl
from tests.storage.conftest import mysql as mysql  # noqa: PLC0414 (a fixture)
from tests.waiting import PATIENCE

from .lab import Lab

DeskOf = Callable[..., StorageDesk]
_NUMBERS = itertools.count()
_TEMPLATE = "with_service"
STUDY = """\
# mine
name: mine
budget: {trials: 3}
data: {name: digits}
train: {model: cnn3, width: 8, epochs: 2}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / f"{_TEMPLATE}.db"
    _make(storage_url(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """A PostgreSQL database with all tables, to be copied."""
    _make(create_database(postgres, _TEMPLATE, stays=True))
    return _TEMPLATE


def _make(url: URL) -> None:
    storage = open_storage(url)
    upgrade(storage.engine)
    close(storage)


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> URL:
    """An SQLite file with all tables."""
    shutil.copy(sqlite_template, tmp_path / "service.db")
    return storage_url(f"sqlite:///{tmp_path / 'service.db'}")


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest) -> URL:
    """A database with all tables."""
    if request.param == "sqlite":
        found: URL = request.getfixturevalue("sqlite_url")
        return found
    if request.param == "mysql":
        create: FreshUrl = request.getfixturevalue("mysql")
        made = create()
        _make(made)
        return made
    template: str = request.getfixturevalue("postgres_template")
    return create_database(request.getfixturevalue("postgres"), f"service_{next(_NUMBERS)}", template)


@pytest.fixture
def storage(url: URL) -> Iterator[BatchStorage]:
    """That database, as the commands open it."""
    opened = open_storage(url)
    yield opened
    close(opened)


@pytest.fixture
def engine(storage: BatchStorage) -> Engine:
    """Of that database."""
    return storage.engine


@pytest.fixture
def desk_of(engine: Engine, url: URL) -> DeskOf:
    """The desk as somebody finds it."""

    def desk(name: str, role: Role = "editor") -> StorageDesk:
        return StorageDesk(engine, url, Actor(name, role))

    return desk


@pytest.fixture
def lab(engine: Engine, url: URL, tmp_path: Path, desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """On that database, with anna, an admin, who submits."""
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "storage" / "artifacts"))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()), prepend=os.pathsep)
    monkeypatch.setattr("cifar_tune.service.supervising._PARK_SECONDS", PATIENCE)  # what ends is parked, however slowly
    made = Lab(engine, url, tmp_path, desk_of("anna", "admin"))
    yield made
    made.server.end()
