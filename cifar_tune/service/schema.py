"""Makes and upgrades the tables of the service.

The version of the tables stands in a table of our own. Alembic keeps its version in `alembic_version` unless it is told
otherwise, and Optuna's is there: a second program that writes into it breaks both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import cast

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, inspect, select, text

from cifar_tune.errors import CheckError
from cifar_tune.service.tables import COUNTERS, METADATA, VERSION, VERSION_TABLE

_LOCK = 5_301_700_117
"""Of PostgreSQL's advisory locks, the one that upgrading takes; any number that no other program takes."""

_LOCK_SECONDS = 60
_WITH_TRANSACTIONS = ("sqlite", "postgresql")
"""Databases that make tables in transactions. MySQL and MariaDB write each table at once."""


class NewerSchemaError(CheckError):
    """A newer version of this program has upgraded the tables of the database."""


def upgrade(engine: Engine) -> str | None:
    """Bring the tables of the service to the version that this program knows; make them where there are none.

    Processes that do this at the same time wait for each other. What is killed in the middle leaves the tables as they
    were. MySQL cannot promise that: there, tables that were just being made are made anew the next time.

    Returns:
        The version before; the present one if nothing was to be done, None if there were no tables.

    Raises:
        NewerSchemaError: the tables belong to a newer version of this program.
        CheckError: another process upgrades them, and does not come to an end.
    """
    before = version_of(engine)
    if before == VERSION:
        return before
    refuse_newer(before)
    with _alone(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        before = context.get_current_revision()
        refuse_newer(before)
        if before is None and engine.url.get_backend_name() not in _WITH_TRANSACTIONS:
            _drop_unfinished(connection)
        scripts = ScriptDirectory(str(files("cifar_tune.service")), version_locations=[_folder()])
        for script in reversed(list(scripts.iterate_revisions(VERSION, before or "base"))):
            script.module.upgrade(Operations(context))  # `alembic.op` is one for all threads of a process
            context.stamp(scripts, script.revision)
    return before


def version_of(engine: Engine) -> str | None:
    """The version of the service's tables in a database; None where there are none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608
        return None if found is None else str(found)


def differences(engine: Engine) -> list[str]:
    """What tells the tables of the database apart from those that this program expects, in words.

    Raises:
        NewerSchemaError: the tables belong to a newer version of this program.
    """
    refuse_newer(version_of(engine))
    ours = {*METADATA.tables}

    def is_ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in ours

    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "include_name": is_ours, "compare_type": False}
        context = MigrationContext.configure(connection, opts=options)
        return [_in_words(each) for each in compare_metadata(context, METADATA)]


def _folder() -> str:
    return str(files("cifar_tune.service") / "migrations")


def refuse_newer(version: str | None) -> None:
    """Versions are numbers of four digits, so that an older program can tell a newer one.

    Raises:
        NewerSchemaError: it is one.
    """
    if version is not None and version > VERSION:
        raise NewerSchemaError(
            f"the service's tables in this database have version {version}, and this program knows {VERSION} at most: "
            f"a newer cifar-tune has upgraded them. Use that version here too (pip install --upgrade cifar-tune)"
        )


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction in which no other process upgrades the same database."""
    backend = engine.url.get_backend_name()
    with engine.connect() as connection:
        if backend == "sqlite":
            # sqlite3 begins no transaction before CREATE TABLE, so that each would be written on its own
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif backend == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        else:
            locked = connection.execute(text("SELECT GET_LOCK('cifar_tune', :seconds)"), {"seconds": _LOCK_SECONDS})
            if locked.scalar() != 1:
                raise CheckError(
                    f"another process has been upgrading the service's tables for {_LOCK_SECONDS} s; try again"
                )
        try:
            yield connection
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            if backend not in _WITH_TRANSACTIONS:
                connection.execute(text("SELECT RELEASE_LOCK('cifar_tune')"))
                connection.commit()


def _drop_unfinished(connection: Connection) -> None:
    """Drop the tables of an upgrade that was killed before it had made all of them; nobody has written into them yet.

    Raises:
        CheckError: they hold something, so that they are of another kind.
    """
    there = [table for table in METADATA.sorted_tables if inspect(connection).has_table(table.name)]
    for table in there:
        if table is not COUNTERS and connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise CheckError(
                f"{table.name} holds something, and {VERSION_TABLE} with its version is missing; restore a backup"
            )
    METADATA.drop_all(connection, there)


def _in_words(difference: object) -> str:
    """Alembic says `("add_column", None, table, Column(...))` where the database lacks a column, and the like."""
    parts = difference[0] if isinstance(difference, list) else difference
    what, *rest = cast("tuple[object, ...]", parts)
    kind, _, thing = str(what).partition("_")
    lacks = {"add": "is missing", "remove": "is too much", "modify": "differs"}.get(kind, "differs")
    names = [str(getattr(each, "name", each)) for each in rest if isinstance(each, str) or hasattr(each, "name")]
    return f"{thing} {'.'.join(names)} {lacks}"
