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
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import (
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from cifar_tune.errors import CheckError

LEASE_SECONDS = 60.0
"""A lease that was not renewed for so long is free. Machines that share a database must agree on the time to this."""

_RELEASE_SECONDS = 10.0

_ENDED = ("Z", "X")  # killed, but its parent has not noticed yet

_LONGEST_KEY = 100
_LONGEST_HOST = 255

_METADATA = MetaData()
_LEASES = Table(
    "cifar_tune_leases",
    _METADATA,
    Column("study", String(_LONGEST_KEY), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("host", String(_LONGEST_HOST), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", String(64), nullable=False),
    Column("expires", Float(53), nullable=False),
)


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
    """A lease as it stands in the database: `seconds` until it ends unless it is renewed, below 0 once it has ended."""

    owner: Owner
    seconds: float

    @property
    def is_free(self) -> bool:
        """Whether the next run may take the study at once."""
        return self.seconds <= 0 or self.owner.surely_dead


class LeaseLostError(CheckError):
    """Another process has taken the study over: nothing of it may be written any more."""


class Lease:
    """The right to coordinate one study. Take it with `acquire`."""

    def __init__(self, engine: Engine, study: str, token: str) -> None:
        self._engine = engine
        self._study = study
        self._token = token
        self._renewed = _now()

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
        mine = (_LEASES.c.study == _key(self._study)) & (_LEASES.c.token == self._token)
        with self._engine.begin() as connection:
            renewed = connection.execute(update(_LEASES).where(mine).values(expires=time.time() + LEASE_SECONDS))
        if renewed.rowcount == 0:
            raise LeaseLostError(f"another process took over the study {self._study!r}; this one stops")
        self._renewed = _now()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease in a thread of its own, for work that has no time for it in between; then give it free.

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
            with suppress(SQLAlchemyError, CheckError):  # it ends by itself
                self.release()

    def release(self) -> None:
        """Give the study free."""
        mine = (_LEASES.c.study == _key(self._study)) & (_LEASES.c.token == self._token)
        with self._engine.begin() as connection:
            connection.execute(delete(_LEASES).where(mine))

    def release_or_leave(self) -> None:
        """Give the study free if the database takes that within a few seconds; else the lease ends by itself."""

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
        CheckError: naming the owner, if a living one holds it.
    """
    _create_table(engine)
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
            connection.execute(insert(_LEASES).values(study=_key(study), **row))
        return Lease(engine, study, token)
    held = _read(engine, study)
    if held is not None:
        owner, old_token, expires = held
        if old_token == token:
            lease = Lease(engine, study, token)
            lease.renew()
            return lease
        free = true() if owner.surely_dead or not expires else _LEASES.c.expires < time.time()
        taken = (
            update(_LEASES)
            .where((_LEASES.c.study == _key(study)) & (_LEASES.c.token == old_token) & free)
            .values(**row)
        )
        with engine.begin() as connection:
            if connection.execute(taken).rowcount == 1:
                return Lease(engine, study, token)
        left = expires - time.time()
        if left > 0 and not owner.surely_dead:
            raise CheckError(
                f"the study {study!r} is being run by {owner}; wait for it, or stop it first "
                f"(if it is gone, its lease ends in {max(1, round(left))} s)"
            )
    return acquire(engine, study, token)  # it was released between the two looks, or another process was quicker


def new_token() -> str:
    """For one attempt to take a lease."""
    return uuid.uuid4().hex


def held_lease(engine: Engine, study: str) -> Held | None:
    """The lease of a study, also one whose owner is gone; None where it was given free, or never taken."""
    if not inspect(engine).has_table(_LEASES.name):
        return None
    held = _read(engine, study)
    if held is None:
        return None
    owner, _, expires = held
    return Held(owner, expires - time.time())


def owner_of(engine: Engine, study: str) -> Owner | None:
    """Who runs the study right now; None if nobody does."""
    held = held_lease(engine, study)
    return None if held is None or held.is_free else held.owner


def _read(engine: Engine, study: str) -> tuple[Owner, str, float] | None:
    with engine.connect() as connection:
        row = connection.execute(select(_LEASES).where(_LEASES.c.study == _key(study))).one_or_none()
    if row is None:
        return None
    # whoever holds it writes the time again soon, so that what makes no sense is nobody's
    expires = row.expires if type(row.expires) in (int, float) and row.expires < math.inf else 0.0
    pid = row.pid if type(row.pid) is int else 0
    return Owner(str(row.host), pid, str(row.process_started)), row.token, expires


def _key(study: str) -> str:
    """What stands for a study in the table: its name; of a longer one, which only another program gives, a digest."""
    if len(study) <= _LONGEST_KEY:
        return study
    digest = sha256(study.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{study[: _LONGEST_KEY - len(digest) - 1]}#{digest}"


def _create_table(engine: Engine) -> None:
    with suppress(OperationalError, ProgrammingError, IntegrityError):  # another process created it at this instant
        _METADATA.create_all(engine)


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps: a lease ends in the meantime."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


@lru_cache
def _host() -> str:
    """Name this machine since its last boot: process numbers mean nothing beyond either."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        return socket.gethostname()[:_LONGEST_HOST]
    # containers may share the host's name and boot, but count their processes apart
    since_boot = f"/{boot.read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()[: _LONGEST_HOST - len(since_boot)] + since_boot


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
