"""Looks at a study again and again, in its database alone, until it ends."""

import sys
import time
from io import StringIO

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, get_storage
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.cli.find_study import find_stored
from cifar_tune.cli.watch_view import frame, is_over
from cifar_tune.errors import CheckError
from cifar_tune.storage.lease import held_lease
from cifar_tune.storage.rdb import close, own_words
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import without_secrets

_SHARE = 4
"""Reading takes at most one part in so many of the time, however long the study."""

_AWAY = 3
"""Looks in a row at which nobody ran the study, after which a run that was seen counts as ended."""


class Watcher:
    """What is known of a study: the newest record, who runs it or was lost, and what went wrong with reading it."""

    def __init__(self, study: str, url: URL) -> None:
        self._url = url
        self._name, self._storage = find_stored(study, url)
        self._cached = get_storage(self._storage)  # finished trials are read once
        self._away: int | None = None  # looks since somebody ran it; None if nobody has
        self.record: StudyRecord | None = None
        self.owner: str | None = None
        self.lost: str | None = None
        self.trouble = ""

    @property
    def storage(self) -> RDBStorage:
        """To be closed in the end."""
        return self._storage

    def look(self) -> float:
        """Read the study; return how many seconds that took. A database that does not answer is `trouble`."""
        began = time.monotonic()
        try:
            self.record = load_record(self._cached, self._name)
            held = held_lease(self._storage.engine, self._name)
            self.owner = None if held is None or held.is_free else str(held.owner)
            self.lost = str(held.owner) if held is not None and held.is_free else None
            self.trouble = ""
            if self.owner is not None:
                self._away = 0
            elif self._away is not None:
                self._away += 1
        except (SQLAlchemyError, StorageInternalError) as error:
            words = own_words(error.__cause__ or error)
            self.trouble = f"the database does not answer ({without_secrets(words, self._url)}); trying again"
        return time.monotonic() - began

    @property
    def is_over(self) -> bool:
        """Whether the study has ended: its budget is used up, or the run that was seen is gone."""
        if self.record is None or self.trouble or self.owner is not None:
            return False
        return is_over(self.record) or (self._away or 0) >= _AWAY

    def render(self) -> Group:
        """The newest frame."""
        if self.record is None:
            return Group(Text(self.trouble))
        return frame(self.record, self.owner, self.trouble, self.lost)


def watch_study(study: str, url: URL, seconds: float, once: bool) -> None:
    """Show frames on stdout: a live view in a terminal; where it is piped, a frame whenever something changed.

    Raises:
        UserError: if there is no such study.
        CheckError: with `once`, if the database does not answer.
    """
    watcher = Watcher(study, url)
    try:
        took = watcher.look()
        if once and watcher.record is None:
            raise CheckError(watcher.trouble)
        console = Console()
        if once:
            console.print(watcher.render())
        elif sys.stdout.isatty():
            with Live(watcher.render(), console=console, auto_refresh=False, screen=False) as live:
                while not watcher.is_over:
                    time.sleep(max(seconds, _SHARE * took))
                    took = watcher.look()
                    live.update(watcher.render(), refresh=True)
        else:
            _print_changes(watcher, console, seconds, took)
    finally:
        close(watcher.storage)


def _print_changes(watcher: Watcher, console: Console, seconds: float, took: float) -> None:
    before = ""
    while True:
        text = _as_text(watcher.render(), console.width)
        if text != before:
            console.print(text, highlight=False, markup=False)
            before = text
        if watcher.is_over:
            return
        time.sleep(max(seconds, _SHARE * took))
        took = watcher.look()


def _as_text(shown: Group, width: int) -> str:
    buffer = StringIO()
    Console(file=buffer, width=width).print(shown)
    return buffer.getvalue()
