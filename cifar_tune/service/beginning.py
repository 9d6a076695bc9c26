"""Begins the processes that run submissions, and puts off what cannot be begun now."""

from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Engine

from cifar_tune.errors import Problem, UserError
from cifar_tune.service import submissions
from cifar_tune.service.audit import note
from cifar_tune.service.ends import note_end
from cifar_tune.service.running import Run
from cifar_tune.service.runs import Command, Processes, Record
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import SERVER_LEASE

_AGAIN_SECONDS = 60.0


class Beginning:
    """Begins runs.

    Args:
        engine: of the database.
        processes: of the runs.
        command: runs a submission.
        environment: of the processes.
        say: is given messages for people.
    """

    def __init__(
        self,
        engine: Engine,
        processes: Processes,
        command: Command,
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._processes = processes
        self._command = command
        self._environment = environment
        self._say = say
        self._not_before: dict[int, float] = {}

    def why_not_yet(self, submission: Submission, now: float) -> str | None:
        """Why a submission is put off, for people; None if it is not."""
        if now >= self._not_before.get(submission.id, 0.0):
            return None
        return f"{submission.message}; it is tried again in a minute"

    def put_off(self, number: int, now: float) -> None:
        """Begin the submission of this number in a minute, not sooner."""
        self._not_before[number] = now + _AGAIN_SECONDS

    def begin(
        self,
        submission: Submission,
        devices: tuple[str, ...],
        slots: int,
        epochs: int,
        kept_until: float,
        now: float,
    ) -> Run | None:
        """Begin the run of a submission.

        Args:
            submission: that waits.
            devices: to train on, one for each trial at a time.
            slots: that one trial takes.
            epochs: how many epochs and trials of the study have ended.
            kept_until: until then it keeps a slot.
            now: seconds since the epoch.

        Returns:
            The run; None if somebody has changed the submission at this instant, or it cannot be begun.
        """
        detail = {"submission": submission.id, "devices": devices}
        is_again = submission.id in self._not_before
        with self._engine.begin() as connection:
            if not submissions.begin(connection, submission.id):
                return None
            if not is_again:  # else each try would be an event
                note(connection, SERVER_LEASE, "start", submission.study, "done", detail)
        record = Record(devices, now, epochs, kept_until=kept_until)
        try:
            command = self._command(submission.id, devices)
            folder = _entered(submission.folder)
            self._processes.begin(submission.id, command, self._environment, folder, record)
        except BlockingIOError:  # another server has begun it: it is found again
            return None
        except (OSError, UserError) as error:
            self._tell_of_false_start(submission, error, now)
            return None
        if is_again:
            del self._not_before[submission.id]
            with self._engine.begin() as connection:
                note(connection, SERVER_LEASE, "start", submission.study, "done", detail)
        self._say(f"{submission.study} of {submission.owner} begins on {', '.join(devices)}")
        owner, study = submission.owner, submission.study
        return Run(submission.id, study, owner, slots, devices, now, epochs, now, kept_until=kept_until)

    def _tell_of_false_start(self, submission: Submission, error: OSError | UserError, now: float) -> None:
        """End what can never begin; what the machine cannot do now, as with a full disk, is tried again later."""
        why = f"it cannot be started: {error}"
        with self._engine.begin() as connection:
            if isinstance(error, UserError):
                if submissions.end(connection, submission.id, 1, why):
                    note_end(connection, submission.id, why)
            else:
                self.put_off(submission.id, now)
                if submissions.requeue(connection, submission.id, why) and why != submission.message:  # told once
                    detail = {"submission": submission.id, "why": why}
                    note(connection, SERVER_LEASE, "start", submission.study, "failed", detail)
        self._say(f"{submission.study}: {why}")


def _entered(folder: str | None) -> Path | None:
    """The folder in which a run is started.

    Raises:
        UserError: it cannot be entered.
    """
    if folder is None:
        return None
    try:
        (Path(folder) / "..").stat()
    except OSError as error:
        raise UserError(Problem(f"cannot be entered: {error.strerror}", "the folder", folder)) from error
    return Path(folder)
