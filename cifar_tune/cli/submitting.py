"""What `cifar-tune submit` sends, and how it follows what it has sent."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError

from cifar_tune.cli.options import study_file
from cifar_tune.cli.queue_lines import state_words
from cifar_tune.errors import CheckError
from cifar_tune.service.desk import Desk
from cifar_tune.service.refusals import AwayError, UnknownStudyError
from cifar_tune.service.submissions import Submission
from cifar_tune.storage.rdb import own_words
from cifar_tune.study_spec.reader import read_text

_LOOK_SECONDS = 1.0


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


def wait_for_end(desk: Desk, made: Submission, say: Callable[[str], None]) -> Submission:
    """Look at a submission until it has ended, and say what changes.

    Raises:
        CheckError: it was deleted, or submitted again.
    """
    said = ""
    while True:
        try:
            found = desk.submission(made.study)
        except UnknownStudyError as error:
            raise CheckError(f"the study {made.study!r} was deleted") from error
        except (OperationalError, InterfaceError) as error:  # a server that is restarted comes back
            words = f"the database does not answer ({own_words(error)}); trying again"
        except AwayError as error:
            words = f"{error}; trying again"
        else:
            if found.id != made.id:
                raise CheckError(f"the study {made.study!r} was submitted again meanwhile (submission {found.id})")
            if not found.is_living:
                return found
            words = f"{found.study}: {state_words(found)}"
            why = found.waits if found.state == "queued" else None
            if why:
                words = f"{words}: {why}"
        if words != said:
            say(words)
            said = words
        time.sleep(_LOOK_SECONDS)
