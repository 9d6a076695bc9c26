"""Executors that fail: some cannot start, some refuse, and some do not leave a trial that has ended.

Each is replaced or given up, and a note says why. What becomes of the trials is decided by the coordinator.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection

from cifar_tune.errors import CheckError
from cifar_tune.executors.messages import Died, Verdict
from cifar_tune.executors.pool import MOST_FALSE_STARTS, Executors

_LEAVING_SECONDS = 60.0
"""An executor may take as long to leave a trial and to finish its checkpoint."""


class FailingExecutors:
    """Keeps count of what executors of one run fail to do.

    Args:
        executors: the pool.
        note: tells whoever watches the run.
    """

    def __init__(self, executors: Executors, note: Callable[[str], None]) -> None:
        self._executors = executors
        self._note = note
        self._leaving: dict[int, float] = {}  # trials to be left, and when their executors must have done so
        self._false_starts: Counter[int] = Counter()  # by slot

    def one_has_started(self) -> None:
        """Count from zero again: false starts count only in a row."""
        self._false_starts.clear()

    def count_false_start(self, died: Died) -> None:
        """An executor died before it was ready; after several in a row its slot is given up.

        Raises:
            CheckError: if no worker is left.
        """
        self._false_starts[died.slot] += 1
        if self._false_starts[died.slot] >= MOST_FALSE_STARTS:
            del self._false_starts[died.slot]
            self._executors.give_up(died.slot)
            self.do_without(f"executors cannot start: {MOST_FALSE_STARTS} in a row ended: {died.cause}")

    def do_without(self, reason: str, *more: str) -> None:
        """An executor cannot train here, as one that came later or in place of a dead one: the others can.

        There is a note for each of several reasons, since a note is one line.

        Raises:
            CheckError: if no worker is left.
        """
        left = self._executors.workers
        if not left:
            raise CheckError("\n".join((f"no worker is left: {reason}", *more)))
        self._note(f"one worker is given up, and the run goes on with {left}: {reason}")
        for each in more:
            self._note(each)

    @property
    def leaving(self) -> Collection[int]:
        """The trials that were ended, or paused, and that an executor has not left yet."""
        return self._leaving.keys()

    def let_go(self, number: int) -> None:
        """Tell the executor of a trial to leave it: it has ended, or is parked. It may take `_LEAVING_SECONDS`."""
        self._leaving[number] = time.monotonic() + _LEAVING_SECONDS
        self._executors.answer(number, Verdict(go_on=False))

    def has_left(self, number: int) -> None:
        """The executor of this trial has left it, or is dead."""
        self._leaving.pop(number, None)

    def replace_hanging(self) -> list[int]:
        """Replace the executors that have not left their trials in time: nobody knows whether they ever will.

        Returns:
            The numbers of these trials.
        """
        hanging = [number for number, until in self._leaving.items() if time.monotonic() > until]
        for number in hanging:
            self.has_left(number)
            what = "ended" if self._executors.is_to_go(number) else "was replaced"
            self._executors.kill(number)
            self._note(f"trial {number}: its executor hung when the trial had to stop, and {what}")
        return hanging
