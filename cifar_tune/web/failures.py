"""Wrong tokens, by the address that they came from: whoever guesses has to wait, and nobody else."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

_MOST_ADDRESSES = 10_000
_MOST_TOKENS = 10_000


class Failures:
    """Remembers the failures of the last seconds.

    Args:
        most: failures of one address after which it has to wait.
        seconds: how long a failure counts.
        clock: seconds that never run backwards.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 if it may now."""
        with self._lock:
            times = self._times.get(address)
            if times is None:
                return 0.0
            self._forget(address, times)
            return max(0.0, times[0] + self._seconds - self._clock()) if len(times) >= self._most else 0.0

    def add(self, address: str) -> None:
        """Note a failure."""
        with self._lock:
            times = self._times.setdefault(address, deque(maxlen=self._most))
            times.append(self._clock())
            self._times.move_to_end(address)
            while len(self._times) > _MOST_ADDRESSES:  # so many addresses at once are one attacker: the oldest go
                self._times.popitem(last=False)

    def _forget(self, address: str, times: "deque[float]") -> None:
        oldest = self._clock() - self._seconds
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            del self._times[address]


class KnownTokens:
    """Tokens that were right before, each with the address that it came from.

    People often share an address: that of a proxy, or 127.0.0.1 of a machine that many use. One of them who guesses
    must not lock out the others.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = Lock()

    def add(self, known: tuple[str, str]) -> None:
        """Remember an address and the digest of a token."""
        with self._lock:
            self._known[known] = None
            self._known.move_to_end(known)
            while len(self._known) > _MOST_TOKENS:
                self._known.popitem(last=False)

    def has(self, known: tuple[str, str]) -> bool:
        """Whether they were right together."""
        with self._lock:
            return known in self._known
