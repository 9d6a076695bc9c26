"""Looks at lists and at large studies before anybody asks for them.

The first look at a study of many trials counts all of them, which takes a database a tenth of a second or more, and so
does the first look at many studies. Later looks read what has ended since. So a server looks once when it has begun,
and again where much has ended meanwhile; whoever opens a page then waits for none of it.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.people import Actor
from cifar_tune.service.submissions import LIVING, select_submissions
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.versions import is_copy
from cifar_tune.web.here import Here

_LOG = logging.getLogger("cifar_tune.web")

MANY = 1000
"""Trials of a study that is looked at before somebody asks."""

_MUCH = 200
"""So many more trials, and it is looked at again: fewer are read in no time."""

_MOST = 100
_MOST_LISTED = 1000
"""Studies, the newest ones, of which it is known what lists say."""

_SECONDS = 60.0
_FAILURES = (CifarTuneError, SQLAlchemyError, StorageInternalError, DatabaseGoneError, ValueError, KeyError)
"""Whoever asks for the study is told of them."""


class Preparing:
    """Does so for a server, in a thread.

    Args:
        here: the server.
        seconds: between two looks at what has ended.
    """

    def __init__(self, here: Here, seconds: float = _SECONDS) -> None:
        self._here = here
        self._seconds = seconds
        self._ends = Event()
        self._trials: dict[str, int] = {}
        self._thread = Thread(target=self._run, name="prepares", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once the study that is looked at now is done."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except _FAILURES:
                pass
            except Exception:  # noqa: BLE001 (a thread that has ended prepares nothing for as long as the server runs)
                _LOG.exception("lists and large studies cannot be prepared; it is tried again")
            if self._ends.wait(self._seconds):
                return

    def look(self) -> list[str]:
        """Look at lists, and at each study that somebody would wait for; returns the names of these.

        Those that are queued or run come first.
        """
        here = self._here
        here.summaries.look()  # from the second one on, all trials have been counted
        looked = here.summaries.look()
        counts = looked.counts_of(list(looked.ids.values()))
        trials = {name: sum(counts.get(study, {}).values()) for name, study in looked.ids.items() if not is_copy(name)}
        with here.engine.connect() as connection:
            living = {each.study for each in select_submissions(connection, LIVING, has_texts=False)}
        here.summaries.of([*living, *list(trials)[:_MOST_LISTED]], looked)
        here.queue_texts.of(here.desk(Actor("", "viewer")))
        large = [name for name, count in trials.items() if count > MANY]
        wanted = sorted(large, key=lambda name: (name not in living, -trials[name], name))[:_MOST]
        self._trials = {name: self._trials[name] for name in wanted if name in self._trials}
        new = [name for name in wanted if trials[name] - self._trials.get(name, 0) > _MUCH]
        for name in new:
            if self._ends.is_set():
                break
            self._trials[name] = trials[name]
            for read in self._reads():
                with suppress(*_FAILURES):
                    read(name)
        return new

    def _reads(self) -> tuple[Callable[[str], object], ...]:
        return self._here.studies.status, self._here.studies.live, self._here.results.best
