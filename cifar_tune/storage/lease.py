"""One coordinator per study at a time: a lease in the same database, taken and renewed in single statements."""

import math
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import Connection, Engine, delete, insert, inspect, select, true, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from cifar_tune.errors import CheckError
from cifar_tune.storage.own_tables import LEASES, LONGEST_HOST, WISHES, create_tables, study_key

LEASE_SECONDS = 60.0
"""A lease that was not renewed for this long is free. Machines that share a database must agree on the time to this."""

_RELEASE_SECONDS = 10.0

_ENDED = ("Z", "X")  # killed, but its parent has not noticed yet


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lease. `started` tells apart processes that were given the same number."""

    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine}"

    @property
    def machine(self) -> str:
        """The host's name alone."""
        return self.host.split("/", 1)[0]

    @property
    def surely_dead(self) -> bool:
        """Whether the process ran on this host, since its last boot, and is gone."""
        return self.host == _host() and _process_started(self.pid) != self.started


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it stands in the database: `seconds` until it ends unless it is renewed, below 0 once it has ended.

    `token` is another one each time that the lease is taken.
    """

    owner: Owner
    seconds: float
    token: str

    @property
    def is_free(self) -> bool:
        """Whether the next run may take the study at once."""
        return self.seconds <= 0 or self.owner.surely_dead


class LeaseHeldError(CheckError):
    """Another process runs the study."""


class LeaseLostError(CheckError):
    """Another process has taken the study over: nothing of it may be written any more."""


class Lease:
    """The right to coordinate one study. Take it with `acquire`."""

    def __init__(self, engine: Engine, study: str, token: str) -> None:
        self._engine = engine
        self._study = study
        self._token = token
        self._renewed = _now()

    @property
    def token(self) -> str:
        """It tells this taking of the lease from all others."""
        return self._token

    def renew_if_due(self) -> None:
        """Extend the lease when a quarter of it has passed.

        Raises:
            LeaseLostError: if another process has taken the study over meanwhile.
        """
        if _now() - self._renewed >= LEASE_SECONDS / 4:
            self.renew()

    def renew(self) -> None:
        """Extend the lease now.

        Raises:
            LeaseLostError: if another process has taken the study over meanwhile.
        """
        mine = (LEASES.c.study == study_key(self._study)) & (LEASES.c.token == self._token)
        with self._engine.begin() as connection:
            renewed = connection.execute(update(LEASES).where(mine).values(expires=time.time() + LEASE_SECONDS))
        if renewed.rowcount == 0:
            raise LeaseLostError(f"another process took over the study {self._study!r}; this one stops")
        self._renewed = _now()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease as `renewed` does, and release it at the end."""
        try:
            with self.renewed():
                yield
        finally:
            with suppress(SQLAlchemyError, CheckError):  # it ends by itself
                self.release()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease in a thread of its own, for work that has no time for it in between.

        Call `renew` before whatever needs the lease: what goes wrong in the thread is found out there.
        """
        done = Event()

        def renew() -> None:
            while not done.wait(LEASE_SECONDS / 6):
                with suppress(SQLAlchemyError, CheckError):
                    self.renew()

        thread = Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def release(self) -> None:
        """Release the study."""
        mine = (LEASES.c.study == study_key(self._study)) & (LEASES.c.token == self._token)
        with self._engine.begin() as connection:
            if connection.execute(delete(LEASES).where(mine)).rowcount == 1:
                _forget_wishes(connection, self._study)

    def release_or_leave(self) -> None:
        """Release the study if the database answers within a few seconds; else the lease ends by itself."""

        def release() -> None:
            with suppress(SQLAlchemyError, CheckError):
                self.release()

        thread = Thread(target=release, daemon=True)
        thread.start()
        thread.join(_RELEASE_SECONDS)


def acquire(engine: Engine, study: str, token: str | None = None) -> Lease:
    """Take the lease of a study, also from an owner that is dead or has not renewed it.

    Args:
        engine: of the database.
        study: its name.
        token: of this attempt (`new_token`), where it is repeated after an error of the database: it may have been
            taken already, and the answer lost. None: it is not repeated.

    Raises:
        LeaseHeldError: naming the owner, if a living one holds it.
    """
    create_tables(engine)
    token = token or new_token()
    row = {
        "token": token,
        "host": _host(),
        "pid": os.getpid(),
        "process_started": _process_started(os.getpid()),
        "expires": time.time() + LEASE_SECONDS,
    }
    with suppress(IntegrityError):  # somebody holds it, or held it
        with engine.begin() as connection:
            connection.execute(insert(LEASES).values(study=study_key(study), **row))
            _forget_wishes(connection, study)
        return Lease(engine, study, token)
    held = _read(engine, study)
    if held is not None:
        owner, old_token, expires = held
        if old_token == token:
            lease = Lease(engine, study, token)
            lease.renew()
            return lease
        free = true() if owner.surely_dead or not expires else LEASES.c.expires < time.time()
        taken = (
            update(LEASES)
            .where((LEASES.c.study == study_key(study)) & (LEASES.c.token == old_token) & free)
            .values(**row)
        )
        with engine.begin() as connection:
            if connection.execute(taken).rowcount == 1:
                _forget_wishes(connection, study)
                return Lease(engine, study, token)
        left = expires - time.time()
        if left > 0 and not owner.surely_dead:
            raise LeaseHeldError(
                f"the study {study!r} is being run by {owner}; wait for it, or stop it first "
                f"(if it is gone, its lease ends in {max(1, round(left))} s)"
            )
    return acquire(engine, study, token)  # it was released between the two looks, or another process was quicker


def new_token() -> str:
    """For one attempt to take a lease."""
    return uuid.uuid4().hex


def held_lease(engine: Engine, study: str) -> Held | None:
    """The lease of a study, also one whose owner is gone; None where it was released, or never taken."""
    try:
        held = _read(engine, study)
    except (OperationalError, ProgrammingError):
        if inspect(engine).has_table(LEASES.name):
            raise
        return None  # nobody has ever taken one
    if held is None:
        return None
    owner, token, expires = held
    return Held(owner, expires - time.time(), token)


def owner_of(engine: Engine, study: str) -> Owner | None:
    """Who runs the study right now; None if nobody does."""
    held = held_lease(engine, study)
    return None if held is None or held.is_free else held.owner


def _read(engine: Engine, study: str) -> tuple[Owner, str, float] | None:
    with engine.connect() as connection:
        row = connection.execute(select(LEASES).where(LEASES.c.study == study_key(study))).one_or_none()
    if row is None:
        return None
    # whoever holds it writes the time again soon, so that what makes no sense is nobody's
    expires = row.expires if type(row.expires) in (int, float) and row.expires < math.inf else 0.0
    pid = row.pid if type(row.pid) is int else 0
    return Owner(str(row.host), pid, str(row.process_started)), row.token, expires


def _forget_wishes(connection: Connection, study: str) -> None:
    """The next run does not do what an earlier one was asked to do."""
    connection.execute(delete(WISHES).where(WISHES.c.study == study_key(study)))


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps: a lease ends in the meantime."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


@lru_cache
def _host() -> str:
    """Name this machine since its last boot: process numbers mean nothing beyond either."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        return socket.gethostname()[:LONGEST_HOST]
    # containers may share the host's name and boot, but count their processes apart
    since_boot = f"/{boot.read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()[: LONGEST_HOST - len(since_boot)] + since_boot


def _process_started(pid: int) -> str:
    """When the process started, in whatever unit the system has; empty if there is no such process, or its end."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in _ENDED else fields[19]
    try:  # no /proc: a number that is in use counts as the same process
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "alive"
    return "alive"
