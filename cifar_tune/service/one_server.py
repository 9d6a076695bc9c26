"""There is one server for each storage, and others can ask where it is found."""

import time

from sqlalchemy import Engine, delete, insert, select

from cifar_tune.errors import CheckError
from cifar_tune.service.tables import SERVER_LEASE, SERVERS
from cifar_tune.storage.lease import Lease, acquire, held_lease
from cifar_tune.visible import visible

_LOOK_SECONDS = 0.5
_STARTING_SECONDS = 10.0


def server_lease(engine: Engine) -> Lease:
    """Be the one server of a storage.

    Raises:
        CheckError: another one lives; names it, and where it is found if that is known.
    """
    try:
        return acquire(engine, SERVER_LEASE)
    except CheckError as error:
        held = held_lease(engine, SERVER_LEASE)
        if held is None or held.is_free:
            raise
        found = _address(engine, held.token)
        if found is None:
            where = ", which is still starting, so its address is not known yet"
        else:
            where = f", at {visible(found)}" if found else ", without pages (--no-http)"
        raise CheckError(
            f"{held.owner} serves this storage already{where}; stop it first, or use it: one server gives out all slots"
        ) from error


def _address(engine: Engine, lease: str) -> str | None:
    """Where the server with this lease is found; waits for a moment if it has not said so yet, since it starts."""
    wanted = select(SERVERS.c.address).where(SERVERS.c.lease == lease)
    deadline = time.monotonic() + _STARTING_SECONDS
    while True:
        with engine.connect() as connection:
            found: str | None = connection.execute(wanted).scalar()
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(_LOOK_SECONDS)


def tell_address(engine: Engine, lease: Lease, address: str) -> None:
    """Let others know where this server is found; empty where it has no pages."""
    with engine.begin() as connection:
        connection.execute(delete(SERVERS))
        connection.execute(insert(SERVERS).values(lease=lease.token, address=address))
