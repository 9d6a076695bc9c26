"""Studies that somebody watches: looked at about once in a second, for all who watch the same one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field

from cifar_tune.web.event_streams import event_bytes

_SHARE = 50
"""Looking takes at most one part in this many of the time, where studies are large or the processors are busy."""

_LONGEST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What whoever watches a study is told.

    Attributes:
        mark: another one if the text is another.
        told: the event as it is sent to all of them.
    """

    mark: str
    told: bytes


def standing(kind: str, mark: str, text: str) -> Standing:
    """What is told of a study.

    Args:
        kind: of event: `study`, or `waiting` before its first run.
        mark: another one if the text is another.
        text: JSON.
    """
    return Standing(mark, event_bytes(mark, kind, text))


Read = Callable[[], Awaitable[Standing | None]]


def pause_after(took: float, least: float) -> float:
    """Seconds from one look to the next one: `least`, or more where a look takes long."""
    return max(least, min(_SHARE * took, _LONGEST_SECONDS))


@dataclass
class _Look:
    """What is looked at again and again: the last answer, when to look anew, and who waits for another one."""

    last: Standing | None = None
    again: float = float("-inf")
    waiting: dict[asyncio.Future[Standing | None], str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class Watched:
    """Looks at studies as long as somebody waits for something new.

    Args:
        seconds: between two looks at a study, at least.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._looks: dict[Hashable, _Look] = {}

    async def another(self, key: Hashable, known: str, read: Read, seconds: float) -> Standing | None:
        """What there is, once its mark is not `known`.

        Args:
            key: of what is watched. Those who watch it read the same, so one of them reads it for all.
            known: the mark of what is known already.
            read: looks; None if there is nothing to be seen any more.
            seconds: to wait at most.

        Returns:
            What `read` has returned.

        Raises:
            TimeoutError: nothing else was there for so long.
        """
        loop = asyncio.get_running_loop()
        look = self._looks.setdefault((loop, key), _Look())
        is_fresh = look.last is not None and time.monotonic() < look.again
        if is_fresh and look.last is not None and look.last.mark != known:
            return look.last
        waiting: asyncio.Future[Standing | None] = loop.create_future()
        look.waiting[waiting] = known
        if look.task is None or look.task.done():
            look.task = asyncio.create_task(self._look((loop, key), look, read))
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        finally:
            look.waiting.pop(waiting, None)

    async def _look(self, key: Hashable, look: _Look, read: Read) -> None:
        try:
            await asyncio.sleep(look.again - time.monotonic())
            while look.waiting:
                began = time.monotonic()
                look.last = await read()
                took = time.monotonic() - began
                pause = pause_after(took, self._seconds)
                look.again = time.monotonic() + pause
                for waiting, known in list(look.waiting.items()):
                    if (look.last is None or look.last.mark != known) and not waiting.done():
                        waiting.set_result(look.last)
                if look.last is None:
                    break
                await asyncio.sleep(pause)
        except Exception as error:  # noqa: BLE001 (those who wait must learn of it, whatever it is)
            for waiting in look.waiting:
                with suppress(asyncio.InvalidStateError):
                    waiting.set_exception(error)
        finally:
            if self._looks.get(key) is look:
                del self._looks[key]
