"""Looks whether a database is in order: what it holds, the service's own tables, and, of SQLite, its pages."""

from dataclasses import dataclass, field

from sqlalchemy import Column, Connection, Engine, func, select, text
from sqlalchemy.exc import DatabaseError

from cifar_tune.optuna_tables import STUDIES, TRIALS
from cifar_tune.service.audit import last
from cifar_tune.service.schema import differences, refuse_newer, version_of
from cifar_tune.service.tables import EVENTS, SUBMISSIONS, VERSION
from cifar_tune.storage.rdb import own_words
from cifar_tune.wording import counted

_MOST_FAULTS = 10


@dataclass
class Found:
    """What was seen: `lines` say what is in order, `faults` what is not."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def check_database(engine: Engine) -> Found:
    """Look at a database that holds studies; nothing is changed.

    Raises:
        NewerSchemaError: a newer version of this program has upgraded its tables.
    """
    found = Found()
    if engine.url.get_backend_name() == "sqlite":
        found.faults += _faults_of_pages(engine)
    if found.faults:
        return found
    version = version_of(engine)
    refuse_newer(version)
    with engine.connect() as connection:
        found.lines.append(
            f"Optuna's tables: studies {_count(connection, STUDIES.c.study_id)}, "
            f"trials {_count(connection, TRIALS.c.trial_id)}"
        )
    if version is None:
        found.lines.append("the service's tables: not made yet; the first command of the service makes them")
        return found
    if version != VERSION:
        found.faults.append(
            f"the service's tables have version {version}; bring them to {VERSION}: cifar-tune db upgrade"
        )
        return found
    found.faults += [f"the service's tables are not as they should be: {each}" for each in differences(engine)]
    if found.faults:
        return found
    with engine.connect() as connection:
        events = _count(connection, EVENTS.c.id)
        if events != last(connection):
            missing = counted(last(connection) - events, "event")
            found.faults.append(f"the record of events has been changed: {missing} of {last(connection):,} are missing")
        found.lines.append(
            f"the service's tables: version {version}, submissions {_count(connection, SUBMISSIONS.c.id)}, "
            f"events {events}"
        )
    return found


def _faults_of_pages(engine: Engine) -> list[str]:
    """What SQLite finds wrong with its file."""
    try:
        with engine.connect() as connection:
            said = [str(each) for each in connection.execute(text("PRAGMA integrity_check")).scalars()]
    except DatabaseError as error:
        said = [own_words(error)]
    return [] if said == ["ok"] else [f"the file is damaged: {each}" for each in said[:_MOST_FAULTS]]


def _count(connection: Connection, column: Column[int]) -> int:
    return int(connection.execute(select(func.count(column))).scalar_one())
