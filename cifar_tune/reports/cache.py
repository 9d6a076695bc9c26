"""Answers that many ask for at the same time are made once, and kept as long as they are right or nearly so."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

Made = TypeVar("Made")


_SHARE = 4
"""Making an answer again takes at most one part in this many of the time, however large the study."""


class Same:
    """A mark that is equal to another one of the very same object, whatever else that object is equal to."""

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        """Whether it marks the same object."""
        return isinstance(other, Same) and self._thing is other._thing

    def __hash__(self) -> int:
        """That of the object's identity."""
        return id(self._thing)


@dataclass
class _Entry(Generic[Made]):
    lock: Lock = field(default_factory=Lock)
    mark: object = None
    at: float = float("-inf")
    took: float = 0.0
    made: list[Made] = field(default_factory=list)  # one, or none yet


class Cache(Generic[Made]):
    """By key, the last answer and the mark that it was made for.

    Args:
        most: answers that are kept; the one that was not asked for longest goes.
        seconds: for this long an answer is given again whatever the mark; one that takes long to make, for longer.
        clock: seconds that never run backwards.
    """

    def __init__(self, most: int, seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry[Made]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, mark: Callable[[], object], make: Callable[[], Made]) -> Made:
        """The answer: the kept one as long as it is fresh or `mark` returns the same as then, else what `make` returns.

        Threads that want the same key wait for the first of them. What `make` raises is raised to each.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.lock:
            keeps = max(self._seconds, _SHARE * entry.took) if self._seconds > 0 else 0.0
            began = self._clock()
            if entry.made and began - entry.at < keeps:
                return entry.made[0]
            now = mark()
            if not entry.made or entry.mark != now:
                entry.made[:] = [make()]
                entry.took = self._clock() - began
            entry.mark, entry.at = now, self._clock()
            return entry.made[0]

    def forget(self, key: Hashable) -> None:
        """Make the answer again the next time."""
        with self._lock:
            self._entries.pop(key, None)
