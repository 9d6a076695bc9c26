"""`cifar-tune watch`: looks at a study again and again, here in its database, and draws a frame each time."""

import sys
import time
from io import StringIO
from typing import Protocol

from optuna.exceptions import StorageInternalError
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.cli.find_study import find_stored
from cifar_tune.cli.watch_frame import LAST, RunSeen, State, frame, is_over
from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.overview import Overview, overview
from cifar_tune.storage.rdb import close, own_words
from cifar_tune.storage.urls import without_secrets
from cifar_tune.streams import drawing_stream, is_read
from cifar_tune.study.live import live
from cifar_tune.visible import visible

_SHARE = 4
"""Reading takes at most one part in this many of the time, however long the study."""


class Watching(Protocol):
    """Somebody who looks at a study again and again."""

    state: State | None
    trouble: str

    def look(self) -> float:
        """Look; returns how many seconds that took. Whoever does not answer is `trouble`."""

    @property
    def is_over(self) -> bool:
        """Whether the study has ended."""

    def close(self) -> None:
        """Look no more."""


class Watcher:
    """What is known of a study in a database: how it stands, and what went wrong with reading it."""

    def __init__(self, study: str, url: URL) -> None:
        self._url = url
        self._name, self._storage = find_stored(study, url)
        self._run = RunSeen()
        self.state: State | None = None
        self.trouble = ""

    @property
    def owner(self) -> str | None:
        """The process that runs it; None if none does."""
        owner: str | None = None if self.state is None else self.state["status"]["owner"]
        return owner

    def close(self) -> None:
        """Close the database."""
        close(self._storage)

    def look(self) -> float:
        """Read the study; return how many seconds that took. A database that is away, or silent, is `trouble`."""
        began = time.monotonic()
        try:
            self.state = live(self._storage, self._read())
            self.trouble = ""
            self._run.look(self.owner)
        except (SQLAlchemyError, StorageInternalError, DatabaseGoneError) as error:
            words = str(error) if isinstance(error, DatabaseGoneError) else own_words(error.__cause__ or error)
            self.trouble = f"the database does not answer ({without_secrets(words, self._url)}); trying again"
        return time.monotonic() - began

    def _read(self) -> Overview:
        try:
            return overview(self._storage, self._name, LAST)
        except UserError as error:
            if self.state is None:
                raise
            raise CheckError(f"the study {self._name!r} was deleted or renamed while it was watched") from error

    @property
    def is_over(self) -> bool:
        """Whether the study has ended: its budget is used up, or the run that was seen is gone."""
        if self.state is None or self.trouble or self.owner is not None:
            return False
        return is_over(self.state) or self._run.is_gone


def render(watching: Watching) -> Group:
    """The newest frame."""
    if watching.state is None:
        return Group(Text(visible(watching.trouble)))
    return frame(watching.state, watching.trouble)


def watch_study(watching: Watching, seconds: float, once: bool) -> None:
    """Show frames on stdout: a live view in a terminal; where it is piped, a frame whenever something changed.

    Raises:
        UserError: if there is no such study.
        CheckError: with `once`, if whoever is asked does not answer; or if the study is deleted or renamed meanwhile.
    """
    try:
        took = watching.look()
        if once and watching.state is None:
            raise CheckError(watching.trouble)
        console = Console(file=drawing_stream(sys.stdout))
        if once:
            console.print(render(watching))
        elif sys.stdout.isatty():
            with Live(render(watching), console=console, auto_refresh=False, screen=False) as view:
                while not watching.is_over and is_read():
                    time.sleep(max(seconds, _SHARE * took))
                    took = watching.look()
                    view.update(render(watching), refresh=True)
        else:
            _print_changes(watching, console, seconds, took)
    finally:
        watching.close()


def _print_changes(watching: Watching, console: Console, seconds: float, took: float) -> None:
    before = ""
    while True:
        text = as_text(render(watching), console.width)
        if text != before:
            console.print(text, highlight=False, markup=False)
            before = text
        if watching.is_over or not is_read():
            return
        time.sleep(max(seconds, _SHARE * took))
        took = watching.look()


def as_text(shown: Group, width: int) -> str:
    """A frame as lines."""
    buffer = StringIO()
    Console(file=buffer, width=width).print(shown)
    return buffer.getvalue()
