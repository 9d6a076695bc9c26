"""Who listens to event streams: how many may, and what wakes them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.audit import last

_LOOK_SECONDS = 0.5
_RETRY = {"Retry-After": "10"}


class Listeners:
    """Counts open streams: one client that opens many must not take the places of all others.

    Args:
        most: of all together.
        each: of one person.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """Streams that are open."""
        return self._open.total()

    @contextmanager
    def place(self, name: str) -> Iterator[None]:
        """A block in which somebody listens. It is entered in the event loop's thread alone.

        Raises:
            HTTPException: there is no place left.
        """
        if self._open[name] >= self._each:
            words = f"{name} has {self._each} open event streams, and no more are allowed."
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, words, _RETRY)
        if self.open >= self._most:
            words = "As many event streams are open as the service allows."
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, words, _RETRY)
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            self._open += Counter()  # forgets those who have gone


class News:
    """Looks for new events as long as somebody waits for them: once for all who do.

    Args:
        engine: of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._newest = 0

    async def wait_beyond(self, known: int, seconds: float) -> None:
        """Return when there is an event with a higher number, or after this many seconds."""
        if self._newest > known:
            await asyncio.sleep(_LOOK_SECONDS)  # else a number whose event is gone would be looked for without a pause
            return
        woken = asyncio.Event()
        self._waiting.add(woken)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await woken.wait()
        finally:
            self._waiting.discard(woken)

    async def _look(self) -> None:
        while self._waiting:
            with suppress(SQLAlchemyError, CifarTuneError):  # it is asked again
                newest = await run_in_threadpool(self._read)
                if newest != self._newest:
                    self._newest = newest
                    for woken in self._waiting:
                        woken.set()
            await asyncio.sleep(_LOOK_SECONDS)

    def _read(self) -> int:
        with self._engine.connect() as connection:
            return last(connection)
