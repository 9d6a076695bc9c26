"""Who listens to event streams: how many may."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.exceptions import HTTPException

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
