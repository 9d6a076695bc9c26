"""Stops a study through the database: pauses what was submitted, asks whoever runs it to park, and waits for that."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import local_user
from cifar_tune.service.refusals import ConflictError
from cifar_tune.service.schema import version_of
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import Submission, newest
from cifar_tune.service.tables import SERVER_LEASE
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.stored_studies import require_study
from cifar_tune.storage.wishes import this_person
from cifar_tune.study.parking import Parked, park

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Stopped:
    """What came of it: the runs that have ended, and whether the study was submitted, and is paused now."""

    parked: tuple[Parked, ...]
    is_submitted: bool


def stop_stored(storage: BatchStorage, url: URL, name: str, say: Callable[[str], None]) -> Stopped:
    """Stop a study, and wait until nobody runs it.

    Args:
        storage: of the study.
        url: of the database.
        name: of the study.
        say: is given a sentence on what is waited for.

    Raises:
        UserError: there is no such study.
        SQLAlchemyError: the database cannot be used.
    """
    is_submitted = _living(storage, name) is not None
    if is_submitted:
        with suppress(ConflictError):  # it is being cancelled, or has ended at this instant
            StorageDesk(storage.engine, url, local_user()).stop(name)
    parked = list(park(storage, name, this_person(), say))
    if is_submitted:
        parked += _parked_by_its_server(storage, name, say)
    elif not parked:  # a run that has just begun has not made its study yet
        require_study(storage, name)
    return Stopped(tuple(parked), is_submitted)


def _parked_by_its_server(storage: BatchStorage, name: str, say: Callable[[str], None]) -> list[Parked]:
    """Wait for a run that hears nothing yet, since it was just started: it takes its lease, or its server ends it."""
    parked: list[Parked] = []
    is_told = False
    while (found := _living(storage, name)) is not None and found.state == "running" and found.wanted != "run":
        if owner_of(storage.engine, name) is not None:
            parked += park(storage, name, this_person(), say)
        elif owner_of(storage.engine, SERVER_LEASE) is None:
            break  # the next server sees to it
        elif not is_told:
            is_told = True
            say(f"waiting until the server has parked {name}, which it has just begun")
        time.sleep(_LOOK_SECONDS)
    return parked


def _living(storage: BatchStorage, name: str) -> Submission | None:
    """The submission of a study that has not ended; None if there is none."""
    if version_of(storage.engine) is None:
        return None
    with storage.engine.connect() as connection:
        found = newest(connection, name)
    return found if found is not None and found.is_living else None
