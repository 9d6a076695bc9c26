"""The event of a run that has ended: `end` where its submission has ended with it, else why it goes on later."""

from typing import Final

from sqlalchemy import Connection

from cifar_tune.service import submissions
from cifar_tune.service.audit import Outcome, note
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import SERVER_LEASE

Way = tuple[str, Outcome]
"""Action and outcome of the event of a run that has ended, and whose submission has not."""

PARKED: Final[Way] = ("park", "done")
PUT_OFF: Final[Way] = ("park", "failed")
REQUEUED: Final[Way] = ("requeue", "done")
DIED: Final[Way] = ("requeue", "failed")


def note_end(
    connection: Connection,
    number: int,
    why: str,
    otherwise: Way = PARKED,
    by: str = SERVER_LEASE,
) -> Submission:
    """Write the event of a run that has ended, in the transaction that has changed its submission.

    Args:
        connection: that transaction. The event is its last statement.
        number: of the submission.
        why: how the run has ended, for people.
        otherwise: action and outcome where the submission has not ended.
        by: who has done that; the end itself is the server's.

    Returns:
        The submission as it is now.
    """
    now = submissions.read(connection, number)
    if now.state == "cancelled" and now.message is None:
        why = now.state  # and not `parked`: it does not go on
    detail: dict[str, object] = {"submission": number, "state": now.state, "why": why}
    if now.is_living:
        action, outcome = otherwise
        note(connection, by, action, now.study, outcome, detail)
    else:
        ended: Outcome = "failed" if now.state == "failed" else "done"
        note(connection, SERVER_LEASE, "end", now.study, ended, {**detail, "exit_code": now.exit_code})
    return now
