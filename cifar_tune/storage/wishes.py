"""What people ask of a study while it runs: to park, or to train on other devices.

A wish stands in the database beside the lease, so it reaches a run on any machine. It carries the token of the lease:
a later run of the same study never sees it. Taking or releasing a lease deletes it (`storage.lease`).
"""

import getpass
import json
import math
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, case, delete, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from cifar_tune.errors import CheckError
from cifar_tune.storage.lease import Held, held_lease
from cifar_tune.storage.own_tables import LONGEST_BY, WISHES, create_tables, study_key

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run is asked to do.

    Attributes:
        park: whether it is to park its trials and end.
        devices: the names of the devices to train on, one per executor; empty: it waits until it gets some; None: they
            stay as they are.
        by: who asked last, for people; with `park`, who asked for that first.
        at: when, in seconds since the epoch.
    """

    park: bool
    devices: tuple[str, ...] | None
    by: str
    at: float


def ask_to_park(engine: Engine, study: str, by: str) -> Held | None:
    """Ask the run of a study to park its trials and end.

    Args:
        engine: of the database.
        study: its name.
        by: who asks, for people.

    Returns:
        The lease of the run that was asked; None where nobody runs the study.

    Raises:
        SQLAlchemyError: the database cannot be used.
    """
    return _ask(engine, study, by, {"park": 1})


def ask_for_devices(engine: Engine, study: str, devices: Sequence[str], by: str) -> Held | None:
    """Ask the run of a study to train on these devices from now on, one executor for each name.

    On a Ray cluster the names mean nothing, and their number is that of the workers. Arguments and errors are those of
    `ask_to_park`, and so is what is returned.
    """
    return _ask(engine, study, by, {"devices": json.dumps(list(devices))})


def read_wish(engine: Engine, study: str, token: str) -> Wish | None:
    """What the run that holds the lease with this token is asked to do; None where nobody has asked for anything.

    Raises:
        SQLAlchemyError: the database cannot be used.
    """
    of_run = (WISHES.c.study == study_key(study)) & (WISHES.c.token == token)
    with engine.connect() as connection:
        row = connection.execute(select(WISHES).where(of_run)).one_or_none()
    if row is None:
        return None
    at = row.at if type(row.at) in (int, float) and math.isfinite(row.at) else 0.0
    return Wish(row.park == 1, _devices(row.devices), str(row.by), at)


def this_person() -> str:
    """Who asks where that is whoever runs this process: `anna on lab1`."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without a name for the user's number
        name = "somebody"
    return f"{name} on {socket.gethostname()}"


def _ask(engine: Engine, study: str, by: str, changes: dict[str, Any]) -> Held | None:
    """Write a wish for the run that holds the lease now; what it was asked before and not again still holds."""
    row = {**changes, "by": by[:LONGEST_BY], "at": time.time()}
    for attempt in range(_ATTEMPTS):
        earlier = _token_of_wish(engine, study)  # before the lease is read: one of another token is of an older run
        held = held_lease(engine, study)
        if held is None or held.is_free:
            return None
        create_tables(engine)  # a run of an older release has not made it
        try:
            with engine.begin() as connection:
                _write(connection, study_key(study), held.token, earlier, row)
        except IntegrityError:  # another one asks at this instant, or another run has begun
            continue
        except OperationalError as error:
            from cifar_tune.storage.rdb import is_undone_for_others  # noqa: PLC0415 (it imports Optuna)

            if not is_undone_for_others(error) or attempt == _ATTEMPTS - 1:
                raise
            continue
        return held
    raise CheckError(f"the study {study!r} is begun and ended again and again; nothing could be asked of its run")


def _token_of_wish(engine: Engine, study: str) -> str | None:
    if not inspect(engine).has_table(WISHES.name):
        return None
    with engine.connect() as connection:
        find = select(WISHES.c.token).where(WISHES.c.study == study_key(study))
        return connection.execute(find).scalar_one_or_none()


def _write(connection: Connection, key: str, token: str, earlier: str | None, row: Mapping[str, Any]) -> None:
    of_study = WISHES.c.study == key
    # who has asked to park is remembered: a person's wish must not look like one of the server's
    by = case((WISHES.c.park == 1, WISHES.c.by), else_=row["by"])
    rest = [(WISHES.c[name], value) for name, value in row.items() if name != "by"]
    change = update(WISHES).where(of_study & (WISHES.c.token == token))
    if connection.execute(change.ordered_values((WISHES.c.by, by), *rest)).rowcount:  # MySQL would see the new `park`
        return
    if earlier is not None and earlier != token:
        connection.execute(delete(WISHES).where(of_study & (WISHES.c.token == earlier)))
    connection.execute(insert(WISHES).values(**{"study": key, "token": token, "park": 0, "devices": None, **row}))


def _devices(text: object) -> tuple[str, ...] | None:
    """The names; None where there are none, or where they make no sense."""
    with suppress(TypeError, ValueError):
        names = json.loads(str(text)) if text is not None else None
        if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
            return tuple(names)
    return None
