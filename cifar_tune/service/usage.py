"""Device seconds: what owners have used lately, and what each submission has used in all."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, insert, select, update

from cifar_tune.service.scheduling import Used, decayed, used_since
from cifar_tune.service.tables import SUBMISSIONS, USAGE


class Usage:
    """Counts device seconds in memory, and writes them into the database now and then.

    What was counted and not yet written is lost if the server is killed.

    Args:
        engine: of the database.
        half_life: see `scheduling.Rules`.
    """

    def __init__(self, engine: Engine, half_life: float) -> None:
        self._engine = engine
        self._half_life = half_life
        self._of_submissions: Counter[int] = Counter()
        self._changed: set[str] = set()
        with engine.connect() as connection:
            rows = connection.execute(select(USAGE)).all()
        self._of_owners = {row.owner: Used(row.device_seconds, row.at) for row in rows}

    def add(self, owner: str, submission: int, slots: int, since: float, now: float) -> None:
        """Count slots that were used between two times, in seconds since the epoch."""
        seconds = max(0.0, now - since)
        before = self._at(owner, now)
        used = before.device_seconds + used_since(slots, seconds, self._half_life)
        self._of_owners[owner] = Used(used, now)
        self._of_submissions[submission] += slots * seconds  # type: ignore[assignment]
        self._changed.add(owner)

    def lately(self, now: float) -> Mapping[str, Used]:
        """What counts at this time, by owner."""
        return {owner: Used(self._at(owner, now).device_seconds, used.last) for owner, used in self._of_owners.items()}

    def last(self, owner: str) -> float:
        """Up to when an owner's use of slots was counted; 0 if never."""
        used = self._of_owners.get(owner)
        return 0.0 if used is None else used.last

    def write(self) -> None:
        """Write what was counted since the last time.

        Raises:
            SQLAlchemyError: the database cannot be used; everything is kept for the next time.
        """
        changed, seconds = sorted(self._changed), dict(self._of_submissions)
        with self._engine.begin() as connection:
            for owner in changed:
                _write(connection, owner, self._of_owners[owner])
            for number, more in sorted(seconds.items()):
                counted = SUBMISSIONS.c.device_seconds + more
                connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.id == number).values(device_seconds=counted))
        self._changed.clear()
        self._of_submissions.clear()

    def _at(self, owner: str, now: float) -> Used:
        used = self._of_owners.get(owner)
        if used is None:
            return Used(0.0, now)
        return Used(decayed(used.device_seconds, max(0.0, now - used.last), self._half_life), used.last)


def _write(connection: Connection, owner: str, used: Used) -> None:
    values = {"device_seconds": used.device_seconds, "at": used.last}
    if connection.execute(update(USAGE).where(USAGE.c.owner == owner).values(**values)).rowcount == 0:
        connection.execute(insert(USAGE).values(owner=owner, **values))
