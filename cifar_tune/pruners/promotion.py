"""Asynchronous successive halving with promotion (ASHA, Li et al. 2020).

A trial pauses at each rung, unless it belongs to the best there at once. It keeps its checkpoint, and goes on when it
turns out to belong to the best as more trials arrive. A pruner that stops trials for good has to decide by the few that
it has seen when they arrive.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping


class Ladder:
    """Who has reached which rung, and with what.

    Args:
        first: epochs of the first rung, 1 or more; each further rung has `factor` times as many.
        keep: one in this many goes on from each rung, 2 or more.
    """

    def __init__(self, first: int, factor: int, keep: int) -> None:
        self._first = first
        self._factor = factor
        self._keep = keep
        self._reached: list[list[tuple[float, int]]] = []
        self._values: list[dict[int, float]] = []

    def rung_at(self, epoch: int) -> int | None:
        """The rung that is reached after this many epochs, from 0; None if there is none."""
        rung, at = 0, self._first
        while at < epoch:
            rung, at = rung + 1, at * self._factor
        return rung if at == epoch else None

    def epoch_of(self, rung: int) -> int:
        """After how many epochs a rung is reached."""
        return int(self._first * self._factor**rung)

    def reach(self, number: int, rung: int, value: float) -> None:
        """A trial has reached a rung with a value, of which higher ones are better. Said again, it changes nothing."""
        while len(self._reached) <= rung:
            self._reached.append([])
            self._values.append({})
        if number not in self._values[rung]:
            self._values[rung][number] = value
            insort(self._reached[rung], (-value, number))

    def is_promoted(self, number: int, rung: int) -> bool:
        """Whether a trial belongs to the best of a rung that it has reached; the very best one always does.

        Equal values belong to the best together: where most trials are still at chance level, none of these waits.
        """
        better = bisect_left(self._reached[rung], (-self._values[rung][number], -1))
        return better < max(1, len(self._reached[rung]) // self._keep)

    def next(self, paused: Mapping[int, int]) -> int | None:
        """The paused trial that goes on now; None if none of them belongs to the best of its rung.

        Those on higher rungs come first, and of those on one rung the best one.

        Args:
            paused: by trial, the rung at which it waits.
        """
        return self.best({number: rung for number, rung in paused.items() if self.is_promoted(number, rung)})

    def best(self, paused: Mapping[int, int]) -> int | None:
        """The best trial of the highest rung at which one waits; None if none waits."""
        return min(paused, key=lambda number: self._order(number, paused[number]), default=None)

    def hopeless(self, paused: Mapping[int, int], most: int) -> Iterable[int]:
        """Which trials need not wait any longer, so that at most this many do: the worst ones of the lowest rungs."""
        return sorted(paused, key=lambda number: self._order(number, paused[number]))[most:]

    def _order(self, number: int, rung: int) -> tuple[int, float, int]:
        return -rung, -self._values[rung][number], number
