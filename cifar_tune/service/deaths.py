"""What becomes of a submission whose process is gone and could not write its end itself."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine, update

from cifar_tune.service import submissions
from cifar_tune.service.audit import Outcome, note
from cifar_tune.service.progress import Progress
from cifar_tune.service.running import Run
from cifar_tune.service.runs import Processes, last_lines
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import SERVER_LEASE, SUBMISSIONS
from cifar_tune.storage.lease import held_lease

MOST_DEATHS = 3
"""A study fails when its process has died so often in a row without having finished an epoch in between."""

_INTERRUPTED = 130


class Deaths:
    """Writes the ends of processes that are gone.

    Args:
        engine: of the database.
        processes: of the runs.
        say: is told what people should know.
    """

    def __init__(self, engine: Engine, processes: Processes, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._processes = processes
        self._say = say

    def bury(self, submission: Submission, run: Run | None, progress: Mapping[str, Progress]) -> bool:
        """Write what came of a process that is gone; False where another one runs the study."""
        held = held_lease(self._engine, submission.study)
        if held is not None and not held.is_free:
            return False  # on another machine, by a server that was there
        record = self._processes.read(submission.id)
        code = self._processes.exit_code(submission.id)
        with self._engine.begin() as connection:
            now_running = submissions.read(connection, submission.id)
            if now_running.state != "running":
                return True  # it has written its end meanwhile
            if record is None:
                self._requeue(connection, submission, "the server was stopped before it had begun", is_death=False)
            elif code is not None and code >= 0 and code != _INTERRUPTED:
                why = f"the run ended with exit code {code}"
                submissions.end(connection, submission.id, code, f"{why}:\n{last_lines(submission.id)}")
                outcome: Outcome = "failed" if code else "done"
                note(connection, SERVER_LEASE, "end", submission.study, outcome, {"exit_code": code})
            elif code == _INTERRUPTED or (run is not None and run.is_parking):
                self._requeue(connection, submission, "parked", is_death=False)
            else:
                done = progress.get(submission.study, Progress()).epochs
                self._count_death(connection, now_running, code, has_advanced=done > record.epochs)
        return True

    def _count_death(
        self, connection: Connection, submission: Submission, code: int | None, has_advanced: bool
    ) -> None:
        deaths = 1 if has_advanced else submission.deaths + 1
        killed = f" (killed by signal {-code})" if code is not None and code < 0 else ""
        is_it = SUBMISSIONS.c.id == submission.id
        if deaths < MOST_DEATHS:
            connection.execute(update(SUBMISSIONS).where(is_it).values(deaths=deaths - 1))
            self._requeue(connection, submission, f"its process died{killed}; it goes on at its checkpoints", True)
            return
        connection.execute(update(SUBMISSIONS).where(is_it).values(deaths=deaths))
        message = f"its process died {deaths} times in a row without finishing an epoch{killed}; its log ends:"
        submissions.end(connection, submission.id, 1, f"{message}\n{last_lines(submission.id)}")
        note(connection, SERVER_LEASE, "end", submission.study, "failed", {"why": message, "deaths": deaths})
        self._say(f"{submission.study}: {message[: message.rindex(';')]}")

    def _requeue(self, connection: Connection, submission: Submission, why: str, is_death: bool) -> None:
        submissions.requeue(connection, submission.id, why, is_death)
        note(connection, SERVER_LEASE, "requeue", submission.study, "failed" if is_death else "done", {"why": why})
        self._say(f"{submission.study}: {why}")
