import builtins
import socket
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage import rdb
from cifar_tune.storage.damage import CheckedStorage
from cifar_tune.storage.rdb import close, open_existing, open_storage
from cifar_tune.storage.urls import storage_url
from tests.ports import held_port

from .conftest import FreshUrl

SECRET = "geh3im"  # noqa: S105


def url_of(file: Path) -> URL:
    return storage_url(f"sqlite:///{file}")


@pytest.mark.parametrize("is_durable", [False, True])
def test_sqlite_has_a_write_ahead_log_on_every_connection(tmp_path: Path, is_durable: bool) -> None:
    storage = open_storage(url_of(tmp_path / "new folder" / "ü.db"), is_durable)
    connections = [storage.engine.connect() for _ in range(3)]
    for connection in connections:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == (2 if is_durable else 1)  # FULL, NORMAL
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 60_000
        connection.close()
    close(storage)


def test_closing_folds_the_write_ahead_log_into_the_file(tmp_path: Path) -> None:
    storage = open_storage(url_of(tmp_path / "x.db"))
    optuna.create_study(study_name="s", storage=storage)
    assert (tmp_path / "x.db-wal").exists()
    close(storage)
    assert [file.name for file in tmp_path.iterdir()] == ["x.db"]


def test_it_is_opened_again(database: URL) -> None:
    storage = open_storage(database)
    optuna.create_study(study_name="s", storage=storage)
    close(storage)
    again = open_existing(database)
    assert again is not None
    assert optuna.get_all_study_names(again) == ["s"]
    close(again)


def test_what_does_not_exist_is_not_created(tmp_path: Path) -> None:
    assert open_existing(url_of(tmp_path / "folder" / "x.db")) is None
    assert list(tmp_path.iterdir()) == []


def refusal(url: URL, kind: type[Exception] = UserError) -> str:
    with pytest.raises(kind) as raised:
        open_storage(url)
    return str(raised.value)


@pytest.mark.parametrize("content", [b"not a database\n" * 100, b"\x89PNG" * 1000, b"name: study\n"])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.db"
    file.write_bytes(content)
    assert refusal(url_of(file)) == f"sqlite:///{file}: is not an SQLite database"
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refusal(url_of(tmp_path / "file" / "sub" / "x.db")) == (
        f"{tmp_path / 'file' / 'sub'}: the folder cannot be made: Not a directory"
    )


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    folder = f"sqlite:///{tmp_path}"
    assert refusal(url_of(tmp_path)) == f"{folder}: is a folder; name a file in it, such as {folder}/studies.db"


def test_a_database_of_another_optuna(tmp_path: Path) -> None:
    url = url_of(tmp_path / "x.db")
    storage = open_storage(url)
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v99.0.0'"))
    close(storage)
    assert "cannot be used: The runtime optuna version" in refusal(url)


Importer = Callable[..., Any]


@pytest.mark.parametrize(
    ("given", "module", "message"),
    [
        (
            "postgresql://h/d",
            "psycopg",
            "its driver is not installed; install it with: pip install 'cifar-tune[postgres]'",
        ),
        ("mysql://h/d", "pymysql", "its driver is not installed; install it with: pip install 'cifar-tune[mysql]'"),
        ("postgresql+psycopg2://h/d", "psycopg2", "its driver is not installed; leave +psycopg2 out of the URL"),
        ("postgresql+nonsense://h/d", "nonsense", "its driver is not installed; leave +nonsense out of the URL"),
        ("sqlite+nonsense:///x.db", "nonsense", "its driver is not installed; leave +nonsense out of the URL"),
    ],
)
def test_a_missing_driver(
    given: str, module: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: Importer = builtins.__import__

    def without_driver(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_driver)
    assert refusal(storage_url(given)).endswith(f": {message}")


@pytest.fixture
def closed_port() -> Iterator[int]:
    with held_port() as port:
        yield port


@pytest.mark.parametrize("password", [SECRET, "p%40ss%2Fw%3Ard"])
def test_a_database_that_does_not_answer(closed_port: int, password: str) -> None:
    url = storage_url(f"postgresql://somebody:{password}@127.0.0.1:{closed_port}/studies")
    message = refusal(url, CheckError)
    assert message.startswith(f"postgresql+psycopg://somebody:***@127.0.0.1:{closed_port}/studies cannot be used: ")
    assert "refused" in message
    assert password not in message
    assert str(url.password) not in message
    assert "\n" not in message


def test_a_wrong_password_for_mysql_is_not_repeated(mysql: FreshUrl) -> None:
    message = refusal(mysql().set(username="nobody", password=SECRET), CheckError)
    assert SECRET not in message
    assert "Access denied" in message


def test_mysql_that_does_not_answer(closed_port: int) -> None:
    pytest.importorskip("pymysql", reason="needs pymysql: pip install 'cifar-tune[mysql]'")
    message = refusal(storage_url(f"mysql://somebody:{SECRET}@127.0.0.1:{closed_port}/studies"), CheckError)
    assert message.startswith(f"mysql+pymysql://somebody:***@127.0.0.1:{closed_port}/studies cannot be used: ")
    assert SECRET not in message
    assert "cannot be used: Can't connect to MySQL server" in message
    assert "\n" not in message


def test_a_wrong_password_is_not_repeated(postgres: str) -> None:
    url = storage_url(postgres).set(username="nobody", password=SECRET)
    message = refusal(url, CheckError)
    assert SECRET not in message
    assert 'role "nobody" does not exist' in message


def test_parameters_that_a_driver_refuses(tmp_path: Path) -> None:
    message = refusal(storage_url(f"sqlite:///{tmp_path}/x.db?timeout={SECRET}&key={SECRET}"))
    assert message.startswith(f"sqlite:///{tmp_path}/x.db?")
    assert "its driver refuses one of the parameters key and timeout: " in message
    assert f"key={SECRET}" not in message


def test_a_password_in_the_query_is_not_repeated(closed_port: int) -> None:
    message = refusal(storage_url(f"postgresql://127.0.0.1:{closed_port}/d?password={SECRET}"), CheckError)
    assert SECRET not in message


def test_connecting_has_a_limit_that_is_not_shown(closed_port: int) -> None:
    url = storage_url(f"postgresql://127.0.0.1:{closed_port}/d")
    assert "connect_timeout" not in refusal(url, CheckError)


def test_a_database_that_takes_a_connection_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rdb._LIMITS["psycopg"], "connect_timeout", 2)  # libpq's shortest
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert "timeout" in refusal(storage_url(f"postgresql://127.0.0.1:{port}/d"), CheckError)


def test_somebody_elses_database_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
        connection.commit()
    before = file.read_bytes()
    assert open_existing(make_url(f"sqlite:///{file}")) is None
    assert file.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ("postgresql://h/d", {"connect_timeout": "10", "tcp_user_timeout": "60000", "keepalives_idle": "20"}),
        ("postgresql://h/d?connect_timeout=3&keepalives_idle=5", {"connect_timeout": "3", "keepalives_idle": "5"}),
        ("mysql://h/d", {"connect_timeout": "10", "read_timeout": "60", "write_timeout": "60"}),
        ("mysql://h/d?read_timeout=7", {"read_timeout": "7", "write_timeout": "60"}),
    ],
)
def test_a_server_is_not_waited_for_longer_than_the_url_says(
    monkeypatch: pytest.MonkeyPatch, given: str, limits: dict[str, str]
) -> None:
    opened: list[URL] = []

    def create(url: URL, _: object) -> RDBStorage:
        opened.append(url)
        raise CheckError("opened")

    monkeypatch.setattr(rdb, "refuse_foreign_tables", lambda url, _: opened.append(url))
    monkeypatch.setattr(rdb, "_create", create)
    with pytest.raises(CheckError, match="opened"):
        open_storage(storage_url(given))
    assert len(opened) == 2
    assert all(limits.items() <= url.query.items() for url in opened)


def foreign_database(url: URL, statements: tuple[str, ...]) -> dict[str, int]:
    """What another program keeps in a database: its tables, and how many columns each has."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
    return tables_of(url)


def tables_of(url: URL) -> dict[str, int]:
    engine = create_engine(url)
    found = {table: len(inspect(engine).get_columns(table)) for table in inspect(engine).get_table_names()}
    engine.dispose()
    return found


ALEMBIC = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
STAMPED = "INSERT INTO alembic_version VALUES ('27c6a30d7c24')"
USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY)"


@pytest.mark.parametrize(
    ("statements", "sign"),
    [
        ((USERS, ALEMBIC, STAMPED), "the version in its table alembic_version is '27c6a30d7c24'"),
        ((USERS, ALEMBIC, "INSERT INTO alembic_version VALUES ('v3.2.0.a'), ('abc')"), "alembic_version is 'abc'"),
        ((USERS, ALEMBIC), "it has an empty table alembic_version, and no studies"),
        (("CREATE TABLE studies (id INTEGER PRIMARY KEY, title VARCHAR(9))",), "its table 'studies' is not Optuna's"),
        (("CREATE TABLE trials (id INTEGER PRIMARY KEY)", USERS), "its table 'trials' is not Optuna's"),
    ],
)
def test_the_database_of_another_program_is_refused_before_any_table_is_made(
    fresh_url: FreshUrl, statements: tuple[str, ...], sign: str
) -> None:
    url = fresh_url()
    before = foreign_database(url, statements)
    message = refusal(url)
    assert "is used by another program (" in message
    assert sign in message
    assert "nothing was changed. Name " in message
    assert tables_of(url) == before


def test_a_database_that_got_optunas_tables_beside_another_program_is_refused(database: URL) -> None:
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '27c6a30d7c24'"))
    engine.dispose()
    assert "is used by another program (the version in its table alembic_version is '27c6a30d7c24'" in refusal(database)
    with pytest.raises(UserError, match="is used by another program"):
        open_existing(database)


def test_reading_makes_no_tables(fresh_url: FreshUrl) -> None:
    url = fresh_url()
    before = foreign_database(url, (USERS, ALEMBIC, STAMPED))
    assert open_existing(url) is None
    assert tables_of(url) == before


def test_a_database_with_tables_of_another_program_that_are_in_nobodys_way_is_taken(fresh_url: FreshUrl) -> None:
    url = fresh_url()
    foreign_database(url, (USERS,))
    close(open_storage(url))
    assert {"users", "studies", "alembic_version"} <= tables_of(url).keys()


def test_the_logs_and_warnings_of_a_notebook_stay_as_they_are(database: URL) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    before = list(warnings.filters)
    close(open_storage(database))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert warnings.filters == before


def test_a_lock_that_sqlite_does_not_wait_for_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that open a new file at the same instant can stand in each other's way."""
    made = CheckedStorage
    refusals = [OperationalError("CREATE", {}, sqlite3.OperationalError("database is locked"))]

    def refused_once(*arguments: Any, **more: Any) -> CheckedStorage:
        if refusals:
            raise refusals.pop()
        return made(*arguments, **more)

    monkeypatch.setattr(rdb, "CheckedStorage", refused_once)
    close(open_storage(make_url(f"sqlite:///{tmp_path}/new.db")))
    assert not refusals


def test_so_is_the_switch_to_the_write_ahead_log() -> None:
    cursor = mock.Mock(execute=mock.Mock(side_effect=[sqlite3.OperationalError("database is locked"), None]))
    rdb._switch_to_write_ahead(cursor)
    assert cursor.execute.call_count == 2
