"""Device seconds: what owners have used lately, what each submission has used in all, and how many slots were busy."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from cifar_tune.service.scheduling import Used, decayed, used_since
from cifar_tune.service.tables import BUSY_SLOTS, SUBMISSIONS, USAGE

_KEPT_SECONDS = 86_400.0
_STILL_SECONDS = 30.0
"""After so long, it is written that as many slots are busy as before: a server that is killed leaves that behind."""


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


class BusySlots:
    """Writes down how many slots studies hold, whenever that changes, and now and then that it has not.

    Args:
        engine: of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._written: int | None = None
        self._at = 0.0
        self._is_repeated = False

    def write(self, busy: int, now: float) -> None:
        """Write the number from this time on, in seconds since the epoch, unless that was done a moment ago.

        What an earlier server has left holds until shortly after it was heard of for the last time. Then only those
        slots count that are held now: their runs went on without a server.

        Raises:
            SQLAlchemyError: the database cannot be used; it is written the next time.
        """
        is_same = busy == self._written
        if is_same and 0 <= now - self._at < _STILL_SECONDS:
            return
        with self._engine.begin() as connection:
            last_of_before = select(func.max(BUSY_SLOTS.c.at)).where(BUSY_SLOTS.c.at < now - _KEPT_SECONDS)
            last = connection.execute(last_of_before).scalar()
            if last is not None:  # it holds until the first one that stays
                connection.execute(delete(BUSY_SLOTS).where(BUSY_SLOTS.c.at < last))
            connection.execute(delete(BUSY_SLOTS).where(BUSY_SLOTS.c.at >= now))  # the clock was put back
            if self._written is None:
                _end_of_earlier(connection, busy, now)
            if is_same and self._is_repeated:
                connection.execute(delete(BUSY_SLOTS).where(BUSY_SLOTS.c.at == self._at))
            connection.execute(insert(BUSY_SLOTS).values(at=now, busy=busy))
        self._written, self._at, self._is_repeated = busy, now, is_same


def _end_of_earlier(connection: Connection, busy: int, now: float) -> None:
    """Let go of the slots that an earlier server has left as busy, and that no run has any more."""
    columns = select(BUSY_SLOTS.c.at, BUSY_SLOTS.c.busy)
    left = connection.execute(columns.order_by(BUSY_SLOTS.c.at.desc()).limit(1)).one_or_none()
    if left is not None and left.busy > busy and left.at + _STILL_SECONDS < now:
        connection.execute(insert(BUSY_SLOTS).values(at=left.at + _STILL_SECONDS, busy=busy))


def busy_slots(engine: Engine, begin: float) -> list[tuple[float, int]]:
    """From when on how many slots were busy, since a time in seconds since the epoch; the first may be earlier."""
    columns = select(BUSY_SLOTS.c.at, BUSY_SLOTS.c.busy)
    before = columns.where(BUSY_SLOTS.c.at <= begin).order_by(BUSY_SLOTS.c.at.desc()).limit(1)
    with engine.connect() as connection:
        first = connection.execute(before).all()
        rest = connection.execute(columns.where(BUSY_SLOTS.c.at > begin).order_by(BUSY_SLOTS.c.at)).all()
    return [(at, busy) for at, busy in (*first, *rest)]


def _write(connection: Connection, owner: str, used: Used) -> None:
    values = {"device_seconds": used.device_seconds, "at": used.last}
    if connection.execute(update(USAGE).where(USAGE.c.owner == owner).values(**values)).rowcount == 0:
        connection.execute(insert(USAGE).values(owner=owner, **values))
