"""Whom the commands of the service ask: the database itself, or a server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL

from cifar_tune.cli.find_study import when_reached
from cifar_tune.errors import Problem, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.desk import Desk
from cifar_tune.service.people import local_user
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage.rdb import close, open_existing, open_storage, without_studies
from cifar_tune.storage.urls import shown, storage_url
from cifar_tune.streams import say

if TYPE_CHECKING:
    from cifar_tune.client import HttpDesk
    from cifar_tune.web.summaries import Summaries

SERVER_VARIABLE = "CIFAR_TUNE_SERVER"


class NoStorageError(UserError):
    """There is no database yet, so nothing was ever submitted."""


def address_of(storage: str | None, server: str | None) -> str | None:
    """The address of the server that a command asks; None where it asks the database.

    Raises:
        UserError: both `--storage` and `--server` are given.
    """
    if server and storage:
        raise UserError(Problem("name a server or a database, not both", "--server", server))
    return server or (None if storage else os.environ.get(SERVER_VARIABLE))


@contextmanager
def server_desk(address: str) -> "Iterator[HttpDesk]":
    """The desk of a server.

    Raises:
        UserError: the address is none, or there is no token for it.
    """
    from cifar_tune.client import HttpDesk
    from cifar_tune.client.token_file import own_token

    with HttpDesk(address, own_token()) as asked:
        yield asked


@contextmanager
def desk_of(storage: str | None, server: str | None, makes_storage: bool = False) -> Iterator[Desk]:
    """The desk that a command asks. Tables of an earlier version are upgraded.

    Args:
        storage: `--storage`.
        server: `--server`.
        makes_storage: whether a database is made where there is none.

    Raises:
        UserError: both are given, the address is none, or there is no token for the server.
        NoStorageError: there is no database.
        CheckError: the database cannot be used.
    """
    address = address_of(storage, server)
    if address:
        with server_desk(address) as asked:
            yield asked
        return
    url = storage_url(storage)
    opened = when_reached(lambda: _opened(url, makes_storage), url)

    @cache
    def summaries() -> "Summaries":
        from cifar_tune.web.reading import Studies
        from cifar_tune.web.summaries import Summaries

        return Summaries(Studies(opened, url))

    try:
        yield StorageDesk(opened.engine, url, local_user(), look=lambda names: summaries().so_far(names))
    finally:
        close(opened)


def note_unless_served(desk: Desk) -> None:
    """Say so where nothing will happen, since no server runs on this database."""
    if isinstance(desk, StorageDesk) and not desk.is_served():
        say("note: no server runs on this database, so nothing begins; start one with: cifar-tune serve", err=True)


def _opened(url: URL, makes_storage: bool) -> BatchStorage:
    storage = open_storage(url, is_durable=True) if makes_storage else open_existing(url, is_durable=True)
    if storage is None:
        rule = f"no studies: {without_studies(url)}; `cifar-tune submit` with a study file makes it"
        raise NoStorageError(Problem(rule, shown(url)))
    try:
        upgrade(storage.engine)
    except BaseException:
        close(storage)
        raise
    return storage
