"""What Optuna's tables hold of studies beside their trials: of one of them, or read for all at once.

Like `optuna_tables`, it relies on the tables of Optuna, and `tests/test_optuna_contract.py` tries it.
"""

from collections import defaultdict
from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import StudyDirection
from sqlalchemy import ColumnElement, Engine, Select, String, Table, Text, cast, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cifar_tune.errors import DamagedError
from cifar_tune.optuna_tables import (
    CHANGED,
    DIRECTIONS,
    STUDIES,
    STUDY_SYSTEM_ATTRIBUTES,
    STUDY_USER_ATTRIBUTES,
    Decoded,
    key_of,
    undecodable,
)
from cifar_tune.plain_rows import plain_rows


@dataclass(frozen=True, slots=True)
class StudyRows:
    """What is stored of a study beside its trials. Texts of attributes are JSON, and not decoded.

    Relies on nothing of Optuna.
    """

    name: str
    directions: tuple[StudyDirection, ...]
    user: tuple[tuple[str, str], ...]
    system: tuple[tuple[str, str], ...]


_Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class StoredStudies:
    """What is stored of all studies beside their trials, as the database gives it: equal as long as nothing changes.

    Relies on `StudyDirection` having the names that the database has.

    Attributes:
        names: id and name of each study, the oldest one first.
        directions: study, objective and direction.
        user: id, study, key and JSON text of each user attribute, in the order of these ids.
        system: the same of system attributes.
    """

    names: _Rows = ()
    directions: _Rows = ()
    user: _Rows = ()
    system: _Rows = ()

    def changed_since(self, before: "StoredStudies") -> set[int]:
        """The ids of the studies of which something is stored that was not, or the other way round."""
        pairs = (
            (0, self.names, before.names), (0, self.directions, before.directions), (1, self.user, before.user),
            (1, self.system, before.system),
        )  # fmt: skip
        return {row[place] for place, now, then in pairs if now != then for row in set(now) ^ set(then)}

    def rows(self, wanted: Container[int]) -> dict[int, StudyRows]:
        """What is stored of each of these studies that is there, by its id, the oldest one first.

        Raises:
            LookupError: a direction is none.
        """
        directions: dict[int, list[StudyDirection]] = defaultdict(list)
        for study, _, direction in self.directions:
            if study in wanted:
                directions[study].append(StudyDirection[direction])
        user, system = (_by_study(each, wanted) for each in (self.user, self.system))
        return {
            study: StudyRows(name, tuple(directions[study]), tuple(user[study]), tuple(system[study]))
            for study, name in self.names
            if study in wanted
        }


def _by_study(rows: _Rows, wanted: Container[int]) -> dict[int, list[tuple[str, str]]]:
    """Keys and texts by the id of their study. Relies on nothing of Optuna."""
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for _, study, key, text in rows:
        if study in wanted:
            found[study].append((key, text))
    return found


def stored_studies(engine: Engine) -> StoredStudies:
    """What is stored of all studies beside their trials.

    Optuna makes an object of each row, and decodes all texts: dozens of times the time. The driver is asked itself,
    since SQLAlchemy makes an object of each row too. Relies on `studies`, on `study_directions` and on the tables of
    both kinds of attributes, whose ids count up.

    Raises:
        SQLAlchemyError: the database failed.
    """
    directed = select(DIRECTIONS.c.study_id, DIRECTIONS.c.objective, DIRECTIONS.c.direction)
    with engine.connect() as connection:
        return StoredStudies(
            plain_rows(connection, select(STUDIES.c.study_id, STUDIES.c.study_name).order_by(STUDIES.c.study_id)),
            plain_rows(connection, directed.order_by(DIRECTIONS.c.study_id, DIRECTIONS.c.objective)),
            plain_rows(connection, _attributes(STUDY_USER_ATTRIBUTES, STUDY_USER_ATTRIBUTES.c.study_user_attribute_id)),
            plain_rows(
                connection, _attributes(STUDY_SYSTEM_ATTRIBUTES, STUDY_SYSTEM_ATTRIBUTES.c.study_system_attribute_id)
            ),
        )


def print_of_studies(engine: Engine) -> Hashable | None:
    """Something that is another one once anything else is stored of a study, beside its trials.

    The database puts all of it together, so that no row comes here, and nothing is made of any. Relies on the same
    tables.

    Returns:
        None where the database has no way to do so: then whoever wants to know reads it all.

    Raises:
        SQLAlchemyError: the database failed.
    """
    if engine.dialect.name not in ("sqlite", "postgresql"):  # MySQL cuts such texts off
        return None
    tables = (
        (STUDIES.c.study_id, STUDIES.c.study_name),
        (DIRECTIONS.c.study_direction_id, DIRECTIONS.c.study_id, DIRECTIONS.c.objective, DIRECTIONS.c.direction),
        _columns(STUDY_USER_ATTRIBUTES, STUDY_USER_ATTRIBUTES.c.study_user_attribute_id),
        _columns(STUDY_SYSTEM_ATTRIBUTES, STUDY_SYSTEM_ATTRIBUTES.c.study_system_attribute_id),
    )
    with engine.connect() as connection:
        return tuple(tuple(connection.execute(select(*map(_together, each))).one()) for each in tables)


def _together(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """All values of a column as one text; what stands between them is in no JSON. Relies on nothing of Optuna."""
    text = column if type(column.type) in (String, Text) else cast(column, Text)
    return func.aggregate_strings(func.coalesce(text, ""), _BETWEEN)


_BETWEEN = "\x1e"


def _attributes(table: Table, own: ColumnElement[Any]) -> Select[Any]:
    """All rows of a table of attributes, in the order of its own ids. Relies on its columns."""
    return select(*_columns(table, own)).order_by(own)


def _columns(table: Table, own: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """What is read of a table of attributes. Relies on its columns."""
    return own, table.c.study_id, table.c.key, table.c.value_json


def names_of_studies(engine: Engine) -> list[str]:
    """The names of all studies, the oldest one first. Relies on `studies`.

    Raises:
        DamagedError: one of them cannot be decoded.
    """
    wanted = select(STUDIES.c.study_name).order_by(STUDIES.c.study_id)
    try:
        with engine.connect() as connection:
            return [str(name) for name in connection.execute(wanted).scalars()]
    except SQLAlchemyError as error:
        words = undecodable(error)
        if words is None:
            raise
        raise DamagedError(f"{CHANGED}: {words}. Go on with a copy of the database from before") from error


def attributes_of_study(session: Session, table: Table, study: int) -> dict[str, Any]:
    """The attributes of a study, from one of the two tables of them. Relies on its columns.

    Raises:
        SenselessError: naming the attribute that is no JSON.
    """
    decoded = Decoded()
    found = session.execute(select(table.c.key, table.c.value_json).where(table.c.study_id == study)).all()
    return {key_of(key): decoded.attribute(key, text) for key, text in found}
