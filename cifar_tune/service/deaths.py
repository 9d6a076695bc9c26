"""What becomes of a submission whose process is gone and could not write its end itself."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine, update

from cifar_tune.service import submissions
from cifar_tune.service.ends import DIED, PARKED, REQUEUED, Way, note_end
from cifar_tune.service.progress import Progress
from cifar_tune.service.running import Run
from cifar_tune.service.runs import Processes, last_lines
from cifar_tune.service.submissions import INTERRUPTED, LATER, Submission
from cifar_tune.service.tables import SUBMISSIONS
from cifar_tune.storage.lease import held_lease

_NOTHING_KNOWN = (
    "nothing is known of its process here, since the server stopped just then or the database is a copy; it goes on at "
    "its checkpoints"
)
MOST_DEATHS = 3
"""A study fails when its process has died so often in a row without having finished an epoch in between."""


class Deaths:
    """Writes the ends of processes that are gone.

    Args:
        engine: of the database.
        processes: of the runs.
        say: is given messages for people.
    """

    def __init__(self, engine: Engine, processes: Processes, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._processes = processes
        self._say = say

    def record(self, submission: Submission, run: Run | None, progress: Mapping[str, Progress]) -> bool:
        """Write what came of a process that is gone; False where another machine runs the submission."""
        record = self._processes.read(submission.id)
        if record is None and run is None and self._is_run_elsewhere(submission.study):
            return False
        code = self._processes.exit_code(submission.id)
        with self._engine.begin() as connection:
            now = submissions.locked(connection, submission.id)  # its process may have sent its end before it died
            if now is None or now.state != "running":
                return True  # it has written its end meanwhile
            if record is None and run is None:
                self._requeue(connection, now, _NOTHING_KNOWN, REQUEUED)
            elif code is not None and code >= 0 and code not in (INTERRUPTED, LATER):
                why = f"the run ended with exit code {code}"
                submissions.end(connection, now.id, code, f"{why}:\n{last_lines(now.id)}")
                note_end(connection, now.id, why)
            elif code == LATER:
                said = last_lines(now.id).rpartition("\n")[2]
                self._requeue(connection, now, f"it could not go on for now: {said}", REQUEUED)
            elif code == INTERRUPTED or (run is not None and run.is_parking):
                self._requeue(connection, now, "parked", PARKED)
            else:
                done = progress.get(now.study, Progress()).epochs
                self._count_death(connection, now, code, has_advanced=record is not None and done > record.epochs)
        return True

    def forget_overcome(
        self, running: Mapping[int, Submission], runs: Mapping[int, Run], progress: Mapping[str, Progress]
    ) -> None:
        """End the row of deaths of each study that has finished an epoch since."""
        overcome = [
            number
            for number, run in runs.items()
            if number in running
            and running[number].deaths > 0
            and progress.get(run.study, Progress()).epochs > run.epochs
        ]
        if overcome:
            with self._engine.begin() as connection:
                for number in overcome:
                    submissions.recover(connection, number)

    def _is_run_elsewhere(self, study: str) -> bool:
        """Whether somebody runs it of whom nothing is known here: a run that a server on another machine has begun."""
        held = held_lease(self._engine, study)
        return held is not None and not held.is_free

    def _count_death(
        self, connection: Connection, submission: Submission, code: int | None, has_advanced: bool
    ) -> None:
        deaths = 1 if has_advanced else submission.deaths + 1
        killed = f" (killed by signal {-code})" if code is not None and code < 0 else ""
        is_it = SUBMISSIONS.c.id == submission.id
        if deaths < MOST_DEATHS:
            connection.execute(update(SUBMISSIONS).where(is_it).values(deaths=deaths - 1))
            self._requeue(connection, submission, f"its process died{killed}; it goes on at its checkpoints", DIED)
            return
        connection.execute(update(SUBMISSIONS).where(is_it).values(deaths=deaths))
        message = f"its process died {deaths} times in a row without finishing an epoch{killed}; its log ends:"
        submissions.end(connection, submission.id, 1, f"{message}\n{last_lines(submission.id)}")
        why = message.rpartition(";")[0]
        note_end(connection, submission.id, why)
        self._say(f"{submission.study}: {why}")

    def _requeue(self, connection: Connection, submission: Submission, why: str, way: Way) -> None:
        submissions.requeue(connection, submission.id, why, is_death=way == DIED)
        note_end(connection, submission.id, why, way)
        self._say(f"{submission.study}: {why}")
