"""Says that a trial has ended when its end stands in the database, and when the database goes away and comes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cifar_tune.errors import CheckError
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.interruption import StopRequests
from cifar_tune.study.observer import Observer, TrialEnd

_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What a coordinator looks at besides its executors: who watches, and who wants it to stop."""

    observer: Observer
    stop: StopRequests


class Announcements:
    """The ends of trials that nobody has been told yet.

    Args:
        storage: the study in memory, and what of it is not written yet.
        watch: who is told.
        sweep: called after an announcement: checkpoints that nobody needs any more can go.
    """

    def __init__(self, storage: WriteBehindStorage, watch: Watch, sweep: Callable[[], None]) -> None:
        self._storage = storage
        self._watch = watch
        self._sweep = sweep
        self._unannounced: list[TrialEnd] = []
        self._outage_since: float | None = None

    def add(self, end: TrialEnd) -> None:
        """To be announced as soon as it is written."""
        self._unannounced.append(end)

    def look(self) -> None:
        """Announce the ends that stand in the database now, and say when it goes away and comes back."""
        unwritten = self._storage.unwritten()
        written = [end for end in self._unannounced if end.number not in unwritten]
        for end in written:
            self._unannounced.remove(end)
            self._watch.observer.ended(end)
        if written:
            self._sweep()
        outage = self._storage.outage
        if outage is not None and self._outage_since is None:
            self._outage_since = outage.since
            self._watch.observer.note(
                f"the database does not take anything ({outage.words}): running trials go on, no new one begins until "
                f"it is back"
            )
        elif outage is None and self._outage_since is not None:
            away = time.monotonic() - self._outage_since
            self._outage_since = None
            self._watch.observer.note(f"the database is back after {away:.0f} s; everything is written")

    def wait(self) -> bool:
        """Stay until all is written, unless that takes too long or somebody does not want to wait.

        Returns:
            Whether it is; if not, somebody asked to stop.

        Raises:
            CheckError: if it is not, and nobody asked to stop.
        """
        if not self._storage.flush(2.0) and self._storage.outage is None:
            self._watch.observer.note("waiting for the database")
        is_written = self._storage.flush(_PATIENCE_SECONDS, lambda: self._watch.stop.at_once)
        self.look()
        if not is_written:
            words = self._storage.outage.words if self._storage.outage else "it is too slow"
            message = (
                f"the database does not take anything ({words}), so the results of {len(self._storage.unwritten())} "
                "trials are not in it; their checkpoints hold them, and the next run writes them from there"
            )
            if not self._watch.stop.park:
                raise CheckError(message)
            self._watch.observer.note(message)
        return is_written
