"""The database that the commands `db` look after."""

from collections.abc import Iterator
from contextlib import contextmanager

from cifar_tune.cli.find_study import when_reached
from cifar_tune.errors import Problem, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.rdb import close, open_existing, without_studies
from cifar_tune.storage.urls import shown, storage_url


@contextmanager
def opened_database(storage: str | None) -> Iterator[BatchStorage]:
    """Open the database that must be there.

    Raises:
        UserError: there is none.
        CheckError: it cannot be used.
    """
    url = storage_url(storage)
    found = when_reached(lambda: open_existing(url), url)
    if found is None:
        raise UserError(Problem(f"no studies: {without_studies(url)}", shown(url)))
    try:
        yield found
    finally:
        close(found)
