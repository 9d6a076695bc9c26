"""Wrong tokens, by the address that they came from: whoever guesses has to wait."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

_MOST_ADDRESSES = 10_000


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

    def forget(self, address: str) -> None:
        """The address has shown a right token."""
        with self._lock:
            self._times.pop(address, None)

    def _forget(self, address: str, times: "deque[float]") -> None:
        oldest = self._clock() - self._seconds
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            del self._times[address]
