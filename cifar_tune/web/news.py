"""New events for all who listen: looked for once, read once and made into bytes once."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from cifar_tune.errors import CifarTuneError
from cifar_tune.service import audit
from cifar_tune.service.newest_event import NewestEvent
from cifar_tune.web.event_streams import event_bytes
from cifar_tune.web.models.administration import EventTold

MOST = 500
"""Events that are read at once, and kept."""

_LOOK_SECONDS = 0.5

_LOG = logging.getLogger("cifar_tune.web")


@dataclass(frozen=True, slots=True)
class Told:
    """An event: its number, and what is sent of it."""

    number: int
    text: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """All events with numbers above `since`, up to `newest`."""

    since: int
    newest: int
    told: Sequence[Told]


class News:
    """Looks for new events as long as somebody waits for them.

    Args:
        engine: of the database.
        newest: knows the number of the newest event.
    """

    def __init__(self, engine: Engine, newest: NewestEvent) -> None:
        self._engine = engine
        self._number = newest
        self._waiting: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._kept: deque[Told] = deque(maxlen=MOST)
        self._since = self._newest = 0

    async def after(self, known: int, seconds: float) -> Sequence[Told]:
        """Events with higher numbers, in their order: those there are, `MOST` at most, else those that come.

        Args:
            known: the number of the last event that is known already.
            seconds: to wait at most.

        Returns:
            None of them, where none came for so long; perhaps earlier.

        Raises:
            SQLAlchemyError: the database cannot be read.
            CifarTuneError: the same.
        """
        if known >= self._newest:
            await self._wait(seconds)
        if self._since <= known:
            return [each for each in self._kept if each.number > known]
        found = await run_in_threadpool(self._read, known)
        if not found:  # its events are gone, and would be looked for without a pause
            await asyncio.sleep(_LOOK_SECONDS)
        return found

    async def _wait(self, seconds: float) -> None:
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
            try:
                newest = self._number.peek()
                if newest is None or newest != self._newest:
                    self._take(await run_in_threadpool(self._find, self._newest))
            except (SQLAlchemyError, CifarTuneError):
                pass  # it is asked again
            except Exception:  # noqa: BLE001 (all who listen would wait for it in vain)
                _LOG.exception("new events cannot be read; it is tried again")
            await asyncio.sleep(_LOOK_SECONDS)

    def _take(self, found: _Found) -> None:
        if found.newest == self._newest:
            return
        if found.since != self._newest:
            self._kept.clear()
            self._since = found.since
        self._kept.extend(found.told)
        if len(self._kept) == MOST:  # the oldest may have been pushed out
            self._since = max(self._since, self._kept[0].number - 1)
        self._newest = found.newest
        for woken in self._waiting:
            woken.set()

    def _find(self, known: int) -> _Found:
        newest = self._number.read()
        if not 0 < newest - known <= MOST:  # none, too many to be kept, or another database
            return _Found(newest, newest, [])
        told = self._read(known)
        return _Found(known, max([newest, *(each.number for each in told)]), told)

    def _read(self, known: int) -> list[Told]:
        with self._engine.connect() as connection:
            return [_told(each) for each in audit.read(connection, known, MOST)]


def _told(event: audit.Event) -> Told:
    return Told(event.id, event_bytes(str(event.id), "event", EventTold.model_validate(event).model_dump_json()))
