"""The record of who did what: append-only, written in the same transaction as the change itself.

Each event gets the next number from a row that its transaction keeps locked until its end. So numbers have no gaps, and
whoever has read up to one number misses nothing that comes later; with a sequence of the database, a transaction could
end after one with a higher number. So `note` should be the last statement of a transaction.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import Connection, Select, insert, select, update

from cifar_tune.service.tables import COUNTERS, EVENTS, LONGEST_NAME, storable
from cifar_tune.storage.urls import without_secrets_of_urls
from cifar_tune.visible import visible, visible_lines

Outcome = Literal["done", "refused", "failed", "asked"]
"""Refused: whoever asked may not, or it made no sense; nothing has changed. Failed: it was tried, and went wrong.
Asked: another program is asked to do it, and an event that says what came of it follows; if none does, nobody knows."""

_NOT_DONE = ("refused", "failed")

_TOKEN = re.compile(r"ct_[A-Za-z0-9_-]{20,}")
_LONGEST_TEXT = 1000
_COUNTING = COUNTERS.c.name == "events"

MOST_REFUSALS: Final = 30
"""Events of one person's refusals in a minute; further ones are counted in the last of these."""

_MINUTE = 60.0
_LOOKED_THROUGH = 500
"""So many events before the newest are looked through for refusals of the same person."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody did, or tried to do. `at` is in seconds since the epoch."""

    id: int
    at: float
    actor: str
    action: str
    target: str | None
    outcome: Outcome
    detail: Mapping[str, Any] = field(default_factory=dict)


def note(
    connection: Connection,
    actor: str,
    action: str,
    target: str | None,
    outcome: Outcome,
    detail: Mapping[str, object] | None = None,
) -> int:
    """Write an event in the transaction of what it tells; returns its number.

    Args:
        connection: the transaction. It has a lock from now on that all others who write events wait for.
        actor: who did it: a person, or `server`.
        action: what, such as `submit` or `token.create`.
        target: what it was done to, such as a study's name.
        outcome: what came of it.
        detail: more about it, for JSON. Secrets of URLs and tokens are taken out of its texts.
    """
    return _write(connection, _row(actor, action, target, outcome, detail))


def note_refusal(
    connection: Connection,
    actor: str,
    action: str,
    target: str | None,
    outcome: Outcome,
    detail: Mapping[str, object],
) -> int:
    """Write that something was not done; a client that tries in a loop must not fill the table.

    What the same person tried before, within a minute and with the same answer, is counted in the event of the first
    time (`times` in its detail). Of one person there are at most a few events of refusals per minute; further ones
    are counted in the newest of them (`others`).

    Args and what is returned are those of `note`; the number may be that of an earlier event.
    """
    row = _row(actor, action, target, outcome, detail)
    connection.execute(update(COUNTERS).where(_COUNTING).values(value=COUNTERS.c.value))  # the lock comes first
    newest = last(connection)
    query = select(EVENTS).where((EVENTS.c.id > newest - _LOOKED_THROUGH) & (EVENTS.c.at > row["at"] - _MINUTE))
    query = query.where((EVENTS.c.actor == row["actor"]) & EVENTS.c.outcome.in_(_NOT_DONE)).order_by(EVENTS.c.id.desc())
    earlier = [Event(**found) for found in connection.execute(query).mappings()]
    same = next((each for each in earlier if _is_same(each, row)), None)
    if same is not None:
        return _count(connection, same, "times", 1)
    if len(earlier) >= MOST_REFUSALS:
        return _count(connection, earlier[0], "others", 0)
    return _write(connection, row)


def _row(
    actor: str, action: str, target: str | None, outcome: Outcome, detail: Mapping[str, object] | None
) -> dict[str, Any]:
    return {
        "at": time.time(),
        "actor": actor[:LONGEST_NAME],
        "action": action,
        "target": None if target is None else visible(target)[:LONGEST_NAME],
        "outcome": outcome,
        "detail": _harmless(dict(detail or {})),
    }


def _write(connection: Connection, row: Mapping[str, Any]) -> int:
    connection.execute(update(COUNTERS).where(_COUNTING).values(value=COUNTERS.c.value + 1))
    number = last(connection)
    connection.execute(insert(EVENTS).values(id=number, **row))
    return number


def _is_same(event: Event, row: Mapping[str, Any]) -> bool:
    same = all(getattr(event, key) == row[key] for key in ("action", "target", "outcome"))
    return same and event.detail.get("why") == row["detail"].get("why")


def _count(connection: Connection, event: Event, key: str, before: int) -> int:
    detail = {**event.detail, key: event.detail.get(key, before) + 1}
    connection.execute(update(EVENTS).where(EVENTS.c.id == event.id).values(detail=detail))
    return event.id


def read(
    connection: Connection, after: int | None = 0, limit: int | None = None, target: str | None = None
) -> list[Event]:
    """Events in the order in which they happened.

    Args:
        connection: of the database.
        after: the number of the last event that is known already; None for the newest ones.
        limit: how many at most; None for all.
        target: only what was done to this.
    """
    order = EVENTS.c.id.desc() if after is None else EVENTS.c.id
    query = select(EVENTS).where(EVENTS.c.id > storable(after or 0)).order_by(order).limit(storable(limit))
    if target is not None:
        query = query.where(EVENTS.c.target == target)
    found = [Event(**row) for row in connection.execute(query).mappings()]
    return found[::-1] if after is None else found


def newest_number() -> Select[int]:
    """Asks for the number of the newest event; see `last`."""
    return select(COUNTERS.c.value).where(_COUNTING)


def last(connection: Connection) -> int:
    """The number of the newest event; 0 where there is none."""
    return int(connection.execute(newest_number()).scalar_one())


def _harmless(value: object) -> object:
    """The value without secrets, without texts that are longer than anybody reads, and as JSON has it."""
    if isinstance(value, str):
        text = _TOKEN.sub("***", without_secrets_of_urls(visible_lines(value)))
        return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."
    if isinstance(value, Mapping):
        return {str(key): _harmless(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no such number, and databases refuse it
        return str(value)
    return value
