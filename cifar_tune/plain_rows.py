"""Rows as the driver of a database gives them, for whoever reads many of them again and again.

SQLAlchemy makes an object of each row, which takes longer than to read it. What it would decode comes as it is stored.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.exc import SQLAlchemyError

PlainRows = list[tuple[Any, ...]]

_Made = TypeVar("_Made")


def plain_rows(connection: Connection, wanted: Select[Any]) -> PlainRows:
    """All rows of a statement.

    Raises:
        SQLAlchemyError: the database failed.
    """
    dbapi = connection.dialect.loaded_dbapi
    with connection.execute(wanted) as result:
        try:
            rows = result.cursor.fetchall()
        except dbapi.Error as error:
            raise SQLAlchemyError(str(error)) from error
    if connection.dialect.name == "sqlite" and isinstance(rows, list):
        return rows
    return [tuple(row) for row in rows]


class MadeOfRows(Generic[_Made]):
    """What was made of rows, kept as long as they are equal. Several threads may ask; nobody changes what they get.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[PlainRows], _Made]) -> None:
        self._make = make
        self._lock = Lock()
        self._kept: tuple[PlainRows, _Made] | None = None

    def of(self, rows: PlainRows) -> _Made:
        """What is made of these rows: the same object as long as they are equal."""
        with self._lock:
            kept = self._kept
        if kept is None or kept[0] != rows:
            kept = rows, self._make(rows)
            with self._lock:
                self._kept = kept
        return kept[1]
