"""Ctrl-C and SIGTERM as requests to stop: the first parks what is running, the second ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cifar_tune.study.events import StopRequests


@contextmanager
def stop_signals() -> Iterator[StopRequests]:
    """Count SIGINT and SIGTERM inside the block instead of letting them end the process.

    Only the main thread can do this, and it changes the whole process. So commands and the processes of the service do
    it, and not the study.
    """
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
