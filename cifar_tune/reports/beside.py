"""Answers that take seconds to make: they are made in a thread of their own, and until then the last one is given."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Made = TypeVar("Made")


@dataclass
class _Entry(Generic[Made]):
    mark: object = None
    last: Future[Made] | None = None
    next: Future[Made] | None = None


class Beside(Generic[Made]):
    """By key, the last answer. One is made at a time, since each takes a core.

    Args:
        most: answers that are kept; the one that was not asked for longest goes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Hashable, _Entry[Made]] = OrderedDict()
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, "beside")

    def get(self, key: Hashable, mark: object, make: Callable[[], Made], waits: bool = False) -> Made | None:
        """The newest answer that there is, None before the first; where `mark` is another one, a new one is begun.

        With `waits`, the first one is waited for. What `make` raises is raised here, and it is called again: a database
        may have been away for a moment.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
            if entry.next is not None and entry.next.done():
                entry.last, entry.next = entry.next, None
            has_one = entry.last is not None and entry.last.exception() is None
            if entry.next is None and (not has_one or entry.mark != mark):
                entry.mark, entry.next = mark, self._thread.submit(make)
            last = entry.next if waits and not has_one else entry.last
        return None if last is None else last.result()
