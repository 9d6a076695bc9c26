"""Hears in a thread of its own what people ask of a run through the database.

The coordinator itself never waits for the database. While the database is away, nothing can be asked, and the run goes
on as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CheckError
from cifar_tune.storage.wishes import Wish, read_wish
from cifar_tune.study.events import WantedDevices, Watch

LOOK_SECONDS = 1.0


@contextmanager
def listening(engine: Engine, study: str, token: str, watch: Watch) -> Iterator[None]:
    """Hand on inside the block what the run that holds the lease with this token is asked to do.

    Args:
        engine: of the database.
        study: its name.
        token: of the lease.
        watch: gets the requests.
    """
    done = Event()
    heard = _Heard(watch)

    def listen() -> None:
        while not done.wait(LOOK_SECONDS):
            with suppress(SQLAlchemyError, CheckError):  # it is away: the coordinator sees to that where it writes
                heard.take(read_wish(engine, study, token))

    thread = Thread(target=listen, name="cifar-tune wishes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(LOOK_SECONDS)  # a database that does not answer is not waited for


class _Heard:
    """Tells a new wish from the one that was heard before."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._last: tuple[tuple[str, ...] | None, float] = (None, 0.0)

    def take(self, wish: Wish | None) -> None:
        if wish is None:
            return
        if wish.park and self._watch.stop.asked_by is None:
            self._watch.stop.asked_by = wish.by
        if wish.devices is not None and self._last != (wish.devices, wish.at):
            self._last = (wish.devices, wish.at)
            self._watch.devices.ask(WantedDevices(wish.devices, wish.by))
