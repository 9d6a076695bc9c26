"""Ctrl-C and SIGTERM, taken as requests: once to park what is running, twice to end at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):  # noqa: N818 (a request, not an error)
    """The user asked to stop before anything was running."""


class StopRequests:
    """Counts the requests to stop."""

    def __init__(self) -> None:
        self.count = 0
        self.is_polled = False
        """Whether somebody looks at the count all the time; until then the second request ends what runs at once."""

    @property
    def park(self) -> bool:
        """Whether running trials are to be parked."""
        return self.count >= 1

    @property
    def at_once(self) -> bool:
        """Whether not even checkpoints that are being written are worth waiting for."""
        return self.count >= 2

    def raise_if_any(self) -> None:
        """Raise `Interrupted` if a stop was requested."""
        if self.park:
            raise Interrupted


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Count SIGINT and SIGTERM inside the block instead of letting them end the process."""
    requests = StopRequests()

    def count(_number: int, _frame: FrameType | None) -> None:
        requests.count += 1
        if requests.at_once and not requests.is_polled:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
