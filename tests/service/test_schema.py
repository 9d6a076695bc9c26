"""The tables of the service: made, upgraded, compared, and left alone where they are newer."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from unittest.mock import ANY

import pytest
from alembic.script import ScriptDirectory
from optuna import create_study
from sqlalchemy import (
    Engine,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateTable

from cifar_tune.service import schema
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.schema import NewerSchemaError, differences, upgrade, version_of
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.tables import METADATA, VERSION
from cifar_tune.storage.lease import LeaseHeldError, acquire, held_lease
from cifar_tune.storage.own_tables import LEASES, WISHES
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.storage.wishes import Wish, ask_to_park, read_wish
from tests.storage.conftest import FreshUrl

from .conftest import STUDY
from .old_database import STUDY as OLD_STUDY


def test_the_migrations_make_the_tables_that_the_code_expects(engine: Engine) -> None:
    assert version_of(engine) == VERSION
    assert differences(engine) == []
    assert set(METADATA.tables) <= set(inspect(engine).get_table_names())
    assert all(name.startswith("cifar_tune_") for name in METADATA.tables)


def test_what_is_missing_is_named(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE cifar_tune_usage"))
        connection.execute(text("ALTER TABLE cifar_tune_owners DROP COLUMN weight"))
    assert sorted(differences(engine)) == [
        "column cifar_tune_owners.weight is missing",
        "table cifar_tune_usage is missing",
    ]


def test_optunas_version_is_left_alone(engine: Engine) -> None:
    with engine.connect() as connection:
        assert str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()).startswith("v")


def test_a_newer_schema_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE cifar_tune_schema SET version_num = '0999'"))
    for use in (upgrade, differences):
        with pytest.raises(NewerSchemaError, match=f"have version 0999, and this program knows {VERSION} at most"):
            use(engine)


def test_the_newest_migration_is_the_version() -> None:
    folder = Path(schema.__file__).parent
    scripts = ScriptDirectory(str(folder), version_locations=[str(folder / "migrations")])
    assert scripts.get_heads() == [VERSION]


def bare(url: URL) -> URL:
    """The same database without the tables of the service."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            table.drop(connection)
        connection.execute(text("DROP TABLE cifar_tune_schema"))
    engine.dispose()
    return url


def test_processes_that_upgrade_at_the_same_time_wait_for_each_other(url: URL) -> None:
    bare(url)
    storages = [open_storage(url) for _ in range(4)]
    with ThreadPoolExecutor(len(storages)) as threads:
        before = list(threads.map(upgrade, [storage.engine for storage in storages]))
    assert set(before) <= {None, VERSION}
    assert None in before
    assert differences(storages[0].engine) == []
    for storage in storages:
        close(storage)


@pytest.mark.parametrize("table", [*METADATA.sorted_tables, LEASES, WISHES], ids=str)
def test_mysql_takes_each_table(table: Table) -> None:
    """Also where no server is there to try it: its keys take 767 bytes, and texts have no place in them."""
    made = str(CreateTable(table).compile(dialect=mysql.dialect()))
    assert "VARCHAR," not in made, "MySQL wants to know how long a text is"
    uniques = [each.columns for each in table.constraints if isinstance(each, UniqueConstraint | PrimaryKeyConstraint)]
    for columns in [*uniques, *(index.columns for index in table.indexes)]:
        texts = [column.type for column in columns if isinstance(column.type, String)]
        assert sum(4 * (text.length or 1000) for text in texts) <= 767, columns


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=str)
def test_mysql_compares_names_of_people_exactly(table: Table) -> None:
    lines = str(CreateTable(table).compile(dialect=mysql.dialect())).splitlines()
    of_people = {"owner", "created_by", "actor", "target", "label"} | (
        {"name"} if table.name == "cifar_tune_owners" else set()
    )
    for line in lines:
        is_exact = "VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" in line
        assert is_exact == (line.split() != [] and line.split()[0] in of_people), line


def test_the_first_tables_are_upgraded_and_keep_what_they_hold(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(bare(url))
    engine = storage.engine
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "VERSION", "0001")
        assert upgrade(engine) is None
    add = text("INSERT INTO cifar_tune_owners (name, slots) VALUES (:name, :slots)")
    with engine.begin() as connection:
        connection.execute(add, {"name": "anna", "slots": 3})
    assert (upgrade(engine), version_of(engine), differences(engine)) == ("0001", VERSION, [])
    with engine.begin() as connection:
        connection.execute(add, {"name": "Anna", "slots": 4})
        rows = connection.execute(text("SELECT slots FROM cifar_tune_owners WHERE name = 'anna'"))
        assert rows.scalars().all() == [3]
    close(storage)


DATABASES = Path(__file__).parent / "databases"


def of_version_2(url: URL) -> URL:
    """A database that `old_database` has written when the tables had version 0002."""
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database))) as connection:
            connection.executescript((DATABASES / "0002.sql").read_text(encoding="utf-8"))
        return url
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("ALTER DATABASE CHARACTER SET latin1")
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for statement in (DATABASES / "0002-mariadb.sql").read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.commit()
    engine.dispose()
    return url


@pytest.mark.parametrize("backend", ["sqlite", "mysql"])
def test_tables_of_version_2_are_upgraded_and_keep_what_they_hold(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if backend == "sqlite":
        empty = storage_url(f"sqlite:///{tmp_path / 'old.db'}")
    else:
        create: FreshUrl = request.getfixturevalue("mysql")
        empty = create()
    storage = open_storage(of_version_2(empty))
    engine = storage.engine
    assert (upgrade(engine), version_of(engine), differences(engine)) == ("0002", VERSION, [])
    desk = StorageDesk(engine, empty, Actor("anna", "editor"))
    assert [(each.study, each.state) for each in desk.queue()] == [("earlier", "queued"), ("later", "paused")]
    assert [owner.slots for owner in desk.owners()] == [3]
    held = held_lease(engine, "made")
    assert held is not None
    assert read_wish(engine, "made", held.token) == Wish(True, None, "anna on lab1", ANY)
    check_every_letter(engine, desk)
    close(storage)


def check_every_letter(engine: Engine, desk: StorageDesk) -> None:
    """What is written is kept, also where the database's own character set lacks it, and names are told apart."""
    text_of_file = f"# 学習 🎯\n{STUDY}"
    made = desk.submit(text_of_file.replace("name: mine", "name: letters"), "学習.yaml")
    assert desk.submission("letters").file == "学習.yaml"
    assert made.text.splitlines()[0] == "# 学習 🎯"
    admin = StorageDesk(engine, engine.url, Actor("root", "admin"))
    assert admin.create_token("学習", "viewer", "naïve 🎯")[0].label == "naïve 🎯"
    for absent in ("学習", "Letters "):
        with pytest.raises(UnknownStudyError):
            desk.cancel(absent)
        with pytest.raises(UnknownStudyError):
            desk.stop(absent)
    for name in ("made", "MADE", "mäde", "学習"):
        with suppress(LeaseHeldError):
            acquire(engine, name)
    assert len({held.token for name in ("made", "MADE", "mäde", "学習") if (held := held_lease(engine, name))}) == 4
    assert ask_to_park(engine, "学習", "学 on lab1") is not None


def test_every_letter_is_kept(mysql: FreshUrl) -> None:
    url = mysql()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER DATABASE CHARACTER SET latin1")
    engine.dispose()
    storage = open_storage(url)
    upgrade(storage.engine)
    create_study(storage=storage, study_name="made")
    check_every_letter(storage.engine, StorageDesk(storage.engine, url, Actor("anna", "editor")))
    with pytest.raises(KeyError):
        storage.get_study_id_from_name("学習")
    close(storage)


def test_where_the_database_compares_exactly_names_of_studies_do_too(mysql: FreshUrl) -> None:
    url = mysql()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    engine.dispose()
    storage = open_storage(url)
    upgrade(storage.engine)
    desk = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    assert [desk.submit(STUDY, settings=[f"name={name}"]).study for name in ("mine", "Mine")] == ["mine", "Mine"]
    close(storage)


def test_an_upgrade_that_breaks_off_leaves_nothing(url: URL) -> None:
    bare(url)
    storage = open_storage(url)

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "CREATE TABLE cifar_tune_usage" in statement:
            raise KeyboardInterrupt

    event.listen(storage.engine, "before_cursor_execute", fail)
    with pytest.raises(KeyboardInterrupt):
        upgrade(storage.engine)
    event.remove(storage.engine, "before_cursor_execute", fail)
    left = [name for name in inspect(storage.engine).get_table_names() if name.startswith("cifar_tune_")]
    if url.get_backend_name() != "mysql":  # which writes each table at once
        assert left == []
    assert upgrade(storage.engine) is None
    assert differences(storage.engine) == []
    close(storage)


def test_a_database_of_an_earlier_release_is_upgraded_and_keeps_everything(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript((Path(__file__).parent / "databases" / "0.1.0.sql").read_text(encoding="utf-8"))
    url = storage_url(f"sqlite:///{tmp_path / 'old.db'}")
    storage = open_storage(url)
    assert version_of(storage.engine) is None
    before = load_record(storage, "earlier")
    assert {trial.state for trial in before.trials} >= {"COMPLETE"}
    assert upgrade(storage.engine) is None
    close(storage)
    storage = open_storage(url)
    after = load_record(storage, "earlier")
    assert (after.spec, after.trials, after.best) == (before.spec, before.trials, before.best)
    assert differences(storage.engine) == []
    desk = StorageDesk(storage.engine, url, Actor("anna", "admin"))
    assert desk.submit(STUDY).state == "queued"
    assert desk.submit(OLD_STUDY, settings=["budget.trials=5"]).study == "earlier"
    close(storage)
