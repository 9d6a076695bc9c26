"""Work that Optuna's storages share in tests: tests open thousands of storages in one process.

For each storage, Alembic compiles and sorts all of Optuna's migrations, and SQLAlchemy makes the text of every
statement anew. Both come out the same each time.
"""

from functools import cache
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import pyfiles
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

_STATEMENTS = 3000
"""More than there are."""


def once_per_process() -> None:
    """Do it once from now on."""
    _read_migrations_once()
    _compile_statements_once()


def _read_migrations_once() -> None:
    directories: dict[str | None, ScriptDirectory] = {}
    read = ScriptDirectory.from_config

    def read_once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in directories:
            directories[place] = read(config)
        return directories[place]

    pyfiles.load_module_py = cache(pyfiles.load_module_py)  # type: ignore[assignment]
    ScriptDirectory.from_config = read_once  # type: ignore[method-assign]


def _compile_statements_once() -> None:
    """Let all SQLite engines of this process share the texts of their statements.

    SQLAlchemy keeps them by dialect, and every engine has a dialect of its own. All of them are set up in one way.
    """
    statements: LRUCache[Any, Any] = LRUCache(_STATEMENTS)
    alike = {"__eq__": lambda one, other: type(one) is type(other), "__hash__": lambda one: hash(type(one))}
    for name, function in alike.items():
        setattr(SQLiteDialect_pysqlite, name, function)

    @event.listens_for(Engine, "engine_connect")
    def share(connection: Connection) -> None:
        if isinstance(connection.dialect, SQLiteDialect_pysqlite):
            connection.execution_options(compiled_cache=statements)
