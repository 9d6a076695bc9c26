"""Whether a database belongs to another program, found out before Optuna makes a table in it.

Optuna creates what is missing and looks at the rest later. It also writes its version into a table that every program
with alembic has, under the same name.
"""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Inspector, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from cifar_tune.errors import Problem, UserError
from cifar_tune.storage.urls import shown, sqlite_file

_ALEMBIC = "alembic_version"
_OPTUNAS = re.compile(r"v\d+\.\d+\.\d+\b.*")  # such as v3.2.0.a
_COLUMNS: Mapping[str, frozenset[str]] = {
    "studies": frozenset({"study_id", "study_name"}),
    "trials": frozenset({"trial_id", "study_id", "number"}),
    "version_info": frozenset({"version_info_id", "library_version"}),
}
"""Columns that Optuna's tables have had in all of its versions. Other programs have tables of these names too."""


def refuse_foreign_tables(url: URL, options: Mapping[str, Any]) -> None:
    """Refuse a database in which Optuna's tables would get into the way of another program's.

    Args:
        url: of the database, which exists.
        options: for SQLAlchemy's `create_engine`.

    Raises:
        UserError: naming what shows that another program uses it, and what to do.
        SQLAlchemyError: the database cannot be read.
    """
    engine = create_engine(url, poolclass=NullPool, **options)
    with engine.connect() as connection:
        found = inspect(connection)
        tables = set(found.get_table_names())
        sign = _unlike_optunas(found, tables)
        if sign is None and _ALEMBIC in tables:
            versions = list(connection.execute(text(f"SELECT version_num FROM {_ALEMBIC}")).scalars())  # noqa: S608
            sign = _unknown_version([str(version) for version in versions], "studies" in tables)
    if sign is not None:
        own = "another file" if sqlite_file(url) else "a database of its own, such as .../cifar_tune"
        rule = f"is used by another program ({sign}), so no studies can be kept in it; nothing was changed. Name {own}"
        raise UserError(Problem(rule, shown(url)))


def has_studies(url: URL, options: Mapping[str, Any]) -> bool:
    """Whether the database has a table of studies; none is made.

    Raises:
        SQLAlchemyError: the database cannot be read.
    """
    with create_engine(url, poolclass=NullPool, **options).connect() as connection:
        return inspect(connection).has_table("studies")


def _unlike_optunas(found: Inspector, tables: set[str]) -> str | None:
    """A table of another program that has the name of one of Optuna's."""
    for table, expected in _COLUMNS.items():
        if table in tables and not expected <= {column["name"] for column in found.get_columns(table)}:
            return f"its table {table!r} is not Optuna's"
    return None


def _unknown_version(versions: list[str], has_studies: bool) -> str | None:
    """What shows that the table of alembic is that of another program."""
    unknown = [version for version in versions if not _OPTUNAS.fullmatch(version)]
    if unknown:
        return f"the version in its table {_ALEMBIC} is {unknown[0]!r}, which is none of Optuna's"
    if not versions and not has_studies:
        return f"it has an empty table {_ALEMBIC}, and no studies"
    return None
