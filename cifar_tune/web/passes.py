"""People who were let in a moment ago, so that the database is not asked about their token at each request."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from cifar_tune.service.people import Pass, digest

_MOST = 10_000
_SECONDS = 300.0
"""Afterwards the database is asked again, in case somebody has changed it by hand, which no event tells."""

_TURNS = 64


@dataclass(frozen=True, slots=True)
class _Known:
    newest: int
    looked_at: float
    found: Pass


class Passes:
    """By the digest of a token, or of a session's secret.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = Lock()
        self._turns = [Lock() for _ in range(_TURNS)]

    def known(self, secret: str, newest: int) -> Pass | None:
        """What a secret opens, as it was found since the event of this number; None if that is not known. At once."""
        key, now = digest(secret), self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is None or known.newest != newest or not 0 <= now - known.looked_at < _SECONDS:
            return None
        return known.found if known.found.until is None or now < known.found.until else None

    def get(self, secret: str, newest: int | None, look: Callable[[], Pass | None]) -> Pass | None:
        """What a secret opens: as it was found since the newest event, else what `look` returns.

        Those who show the same secret at the same time wait for the first of them, which looks for all. It blocks.

        Args:
            secret: of a token or a session.
            newest: the number of the newest event, read before; None: nobody knows, so `look` says it.
            look: asks the database.
        """
        if newest is None:
            return look()
        found = self.known(secret, newest)
        if found is not None:
            return found
        key = digest(secret)
        with self._turns[hash(key) % _TURNS]:
            found = self.known(secret, newest)
            if found is not None:
                return found
            now = self._clock()
            found = look()
            with self._lock:
                self._known.pop(key, None)
                if found is not None:
                    self._known[key] = _Known(newest, now, found)
                    while len(self._known) > _MOST:
                        self._known.popitem(last=False)
            return found
