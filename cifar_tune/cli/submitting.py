"""What `cifar-tune submit` sends, and how it follows what it has sent."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text
from sqlalchemy.exc import InterfaceError, OperationalError

from cifar_tune.cli.options import study_file
from cifar_tune.cli.queue_lines import best_words, state_words
from cifar_tune.errors import CheckError
from cifar_tune.service.desk import Desk
from cifar_tune.service.refusals import AwayError, UnknownStudyError
from cifar_tune.service.submissions import Submission
from cifar_tune.storage.rdb import own_words
from cifar_tune.streams import drawing_stream, say
from cifar_tune.study_spec.reader import read_text
from cifar_tune.visible import visible

_LOOK_SECONDS = 1.0
_REFRESHES = 2.0  # per second; the cores are for training

LINE_SECONDS = 30.0
"""Where stderr is no terminal, lines about the same step come so far apart."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A study as it is sent.

    Attributes:
        text: of its file.
        file: the file's name.
        folder: in which its paths begin.
        notify: addresses that were told before; the text is without them.
    """

    text: str
    file: str
    folder: str | None
    notify: tuple[str, ...] = ()


def study_to_submit(study: str, desk: Desk) -> Sent:
    """The study that a STUDY argument names: a file, or a study that was submitted before.

    Raises:
        UserError: the file cannot be read.
        UnknownStudyError: it is no file, and nobody has submitted such a study.
    """
    path = study_file(study, lambda: [each.study for each in desk.submissions()])
    if path is not None:
        return Sent(read_text(path), str(path), str(Path.cwd()))
    before = desk.submission(study)
    return Sent(before.text, before.file, before.folder, before.notify)


class Teller(Protocol):
    """Shows somebody who waits how it stands."""

    def tell(self, step: str, words: str) -> None:
        """Show it.

        Args:
            step: another one whenever something has happened, such as that it has begun.
            words: how it stands; they may change all the time.
        """


class Lines:
    """A line for each step at once, and for other changes now and then.

    Args:
        say: prints a line.
        clock: in seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._step = ""
        self._words = ""
        self._said = -math.inf

    def tell(self, step: str, words: str) -> None:
        """See `Teller`."""
        now = self._clock()
        if words == self._words or (step == self._step and now - self._said < LINE_SECONDS):
            return
        self._say(words)
        self._step, self._words, self._said = step, words, now


class LineInPlace:
    """One line in a terminal, which changes where it stands.

    Args:
        console: of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._status = Status("", console=console, refresh_per_second=_REFRESHES)

    def tell(self, step: str, words: str) -> None:
        """See `Teller`."""
        self._status.update(Text(visible(words)))

    def __enter__(self) -> Self:
        """Show the line."""
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._status.stop()


@contextmanager
def teller() -> Iterator[Teller]:
    """The teller that suits stderr."""
    if sys.stderr.isatty():
        with LineInPlace(Console(file=drawing_stream(sys.stderr))) as line:
            yield line
    else:
        yield Lines(lambda text: say(text, err=True))


def wait_for_end(desk: Desk, made: Submission, teller: Teller) -> Submission:
    """Look at a submission until it has ended, and tell how it stands.

    Raises:
        CheckError: it was deleted, or submitted again.
    """
    while True:
        try:
            found = desk.submission(made.study)
        except UnknownStudyError as error:
            raise CheckError(f"the study {made.study!r} was deleted") from error
        except (OperationalError, InterfaceError) as error:  # a server that is restarted comes back
            step = words = f"the database does not answer ({own_words(error)}); trying again"
        except AwayError as error:
            step = words = f"{error}; trying again"
        else:
            if found.id != made.id:
                raise CheckError(f"the study {made.study!r} was submitted again meanwhile (submission {found.id})")
            if not found.is_living:
                return found
            step, words = state_words(found), standing_words(found)
        teller.tell(step, words)
        time.sleep(_LOOK_SECONDS)


def standing_words(found: Submission) -> str:
    """`digits: running, 5 of 20 trials, best val_accuracy 0.9433 (trial 3)`, or its position and why it waits."""
    words = f"{found.study}: {state_words(found)}"
    if found.state == "queued":
        place = "" if found.position is None else f" at position {found.position}"
        return f"{words}{place}{f': {found.waits}' if found.waits else ''}"
    so_far = found.so_far
    if so_far is None:
        return words
    best = best_words(so_far)
    words = f"{words}, {so_far.finished:,} of {found.trials:,} trials"
    return f"{words}, best {best} (trial {so_far.trial})" if best else words
