"""The newest submission of each study, for whoever lists studies again and again."""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from cifar_tune.plain_rows import MadeOfRows, PlainRows, plain_rows
from cifar_tune.service.submissions import State
from cifar_tune.service.tables import SUBMISSIONS

Newest = Mapping[str, tuple[int, State]]
"""Number and state, by the name of the study, the newest first."""


class NewestSubmissions:
    """Those of a database. All are read each time, which takes less time than to find the newest ones there."""

    def __init__(self) -> None:
        self._made = MadeOfRows(_newest)

    def look(self, connection: Connection) -> Newest:
        """As they stand: the same object as long as nothing of it changes."""
        return self._made.of(plain_rows(connection, _WANTED))


_WANTED = select(SUBMISSIONS.c.study, SUBMISSIONS.c.id, SUBMISSIONS.c.state).order_by(SUBMISSIONS.c.id.desc())


def _newest(rows: PlainRows) -> Newest:
    found: dict[str, tuple[int, State]] = {}
    for study, number, state in rows:
        found.setdefault(study, (number, state))
    return found
