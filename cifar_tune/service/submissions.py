"""Submissions: what they are, and how their states change, each time in one statement.

People say what they want (`wanted`), and the server says what is (`state`). A submission that waits has no process, so
there the wish is carried out at once. Each change names the states that it starts from, so of two that happen at the
same instant, such as a start by the server and a cancellation, the second one finds the first one done.

    queued   ->  running, paused, cancelled
    running  ->  queued (parked for others, or its process died), paused, done, failed, cancelled
    paused   ->  queued, cancelled
"""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, Connection, String, case, delete, func, literal, null, select, type_coerce, update

from cifar_tune.plain_rows import PlainRows, plain_rows
from cifar_tune.service.tables import SUBMISSIONS, storable
from cifar_tune.storage.urls import without_secrets_of_urls

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
Wanted = Literal["run", "pause", "cancel"]

STATES: Final[tuple[State, ...]] = get_args(State)
LIVING: Final[tuple[State, ...]] = ("queued", "running", "paused")
"""States of a submission that has not ended."""

INTERRUPTED: Final = 130
"""The exit code of a run that was parked: the submission goes on later."""

LATER: Final = 75
"""The exit code of a run that could not go on for now, such as without the database: it is tried again a minute later.

This is `EX_TEMPFAIL` of sysexits.h."""

_MESSAGE = 1000

MOST_NUMBER: Final = 2**31 - 1
"""No submission has a higher number."""

_C = SUBMISSIONS.c
_HAS_ENDED = _C.state.not_in(LIVING)


@dataclass(frozen=True, slots=True)
class SoFar:
    """How far a study is, that has begun.

    Attributes:
        finished: trials that count against the budget.
        running: trials that are trained now.
        metric: the name of the objective, of the first one of several; None where the study cannot be read.
        best: the best value so far; None if there is none yet.
        trial: the number of the trial that has it.
    """

    finished: int
    running: int
    metric: str | None
    best: float | None
    trial: int | None


@dataclass(frozen=True, slots=True)
class Submission:
    """A study that somebody has submitted. Times are seconds since the epoch.

    Attributes:
        id: its number, which no other submission ever gets.
        study: the study's name.
        owner: who submitted it.
        file: the name of the study file, for messages.
        folder: relative paths in the study file begin here; None for the folder of the server.
        text: of the study file, with `--set` applied.
        priority: the higher, the sooner; 0 unless somebody has said otherwise.
        workers: slots that it may use at most; None for as many as there are.
        trials: its budget.
        state: what it does.
        wanted: what people want it to do.
        waiting_since: when it was queued last: submitted, resumed or parked for others.
        started_at: when it began for the first time.
        ended_at: when it ended for good.
        exit_code: that of its last run, once it has ended.
        message: how it ended, or what went wrong last.
        device_seconds: for how long it has used slots, all together.
        deaths: processes of it that died in a row without a finished epoch in between.
        notify: addresses that are told; hidden from those who may not change it, since they may hold secrets.
        waits: why it waits, in a sentence.
        position: in the queue, from 1; None where it has none.
        notes: on what the study file says and surely does not mean; only in the answer to whoever submits it.
        so_far: how far it is; only in the queue and where one submission is asked for. None before its first run.
    """

    id: int
    study: str
    owner: str
    file: str
    folder: str | None
    text: str
    priority: int
    workers: int | None
    trials: int
    state: State
    wanted: Wanted
    submitted_at: float
    waiting_since: float
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    message: str | None
    device_seconds: float
    deaths: int
    notify: tuple[str, ...]
    waits: str | None
    position: int | None
    notes: tuple[str, ...] = ()
    so_far: SoFar | None = None

    @property
    def is_living(self) -> bool:
        """Whether it has not ended."""
        return self.state in LIVING


def find(connection: Connection, number: int) -> Submission | None:
    """The submission of this number; None if there is none."""
    row = connection.execute(select(*_COLUMNS).where(_C.id == number)).one_or_none()
    return None if row is None else of_row(row)


def read(connection: Connection, number: int) -> Submission:
    """The submission of this number.

    Raises:
        NoResultFound: there is none.
    """
    return of_row(connection.execute(select(*_COLUMNS).where(_C.id == number)).one())


def locked(connection: Connection, number: int) -> Submission | None:
    """The same; nobody else changes it until the transaction ends."""
    connection.execute(update(SUBMISSIONS).where(_C.id == number).values(id=_C.id))
    return find(connection, number)


def newest(connection: Connection, study: str) -> Submission | None:
    """The newest submission of a study."""
    query = select(*_COLUMNS).where(_C.study == study).order_by(_C.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else of_row(row)


def select_submissions(
    connection: Connection,
    states: Collection[State] | None = None,
    owner: str | None = None,
    before: int | None = None,
    limit: int | None = None,
    has_texts: bool = True,
) -> list[Submission]:
    """Submissions, the newest first.

    Args:
        connection: of the database.
        states: in which they are; None for all.
        owner: whose they are; None for everybody's.
        before: only those with a lower number, to read page by page.
        limit: how many at most.
        has_texts: whether the texts of their study files are read; without, they are empty.
    """
    query = select(*(_COLUMNS if has_texts else _WITHOUT_TEXT)).order_by(_C.id.desc()).limit(storable(limit))
    if states is not None:
        query = query.where(_C.state.in_(states))
    if owner is not None:
        query = query.where(_C.owner == owner)
    if before is not None:
        query = query.where(_C.id < min(before, MOST_NUMBER))
    return [of_row(row) for row in connection.execute(query).all()]


def first_of_queue(connection: Connection, most: int) -> tuple[list[Submission], int]:
    """The first ones of the queue (`queue_rows`), at most `most`, and how many there are in all."""
    found = [of_row(row) for row in queue_rows(connection, most)]
    return found, connection.execute(select(func.count()).where(_C.state.in_(LIVING))).scalar_one()


def queue_rows(connection: Connection, most: int | None = None) -> PlainRows:
    """The rows of the queue in the order in which people see it (`in_order`), at most `most`, for `of_row`.

    The texts of study files are long, and not read: they are empty.
    """
    places = {"running": 0, "queued": 1, "paused": 2}
    order = case(places, value=_C.state), case((_C.position.is_(None), 1), else_=0), _C.position, -_C.priority, _C.id
    query = select(*_UNDECODED).where(_C.state.in_(LIVING)).order_by(*order).limit(most)
    return plain_rows(connection, query)


def in_order(submissions: Sequence[Submission]) -> list[Submission]:
    """As people see the queue: what runs, then what waits by its position, what is paused, and what ended last."""

    def key(each: Submission) -> tuple[int, float, float, int, int]:
        place = ("running", "queued", "paused").index(each.state) if each.is_living else 3
        position = each.position if each.position is not None else float("inf")
        return place, -(each.ended_at or 0.0), position, -each.priority, each.id

    return sorted(submissions, key=key)


def pause(connection: Connection, number: int) -> bool:
    """Want it to pause: at once where it waits, else its trials are parked. False if it ends or has ended."""
    is_it = (_C.id == number) & _C.state.in_(LIVING) & (_C.wanted != "cancel")
    state = case((_C.state == "queued", "paused"), else_=_C.state)
    return _changed(connection, is_it, wanted="pause", state=state, waits=null(), position=null())


def resume(connection: Connection, number: int) -> bool:
    """Want it to run: it is queued again where it is paused. False if it ends or has ended."""
    is_it = (_C.id == number) & _C.state.in_(LIVING) & (_C.wanted != "cancel")
    is_paused = _C.state == "paused"
    return _changed(
        connection,
        is_it,
        wanted="run",
        state=case((is_paused, "queued"), else_=_C.state),
        waiting_since=case((is_paused, time.time()), else_=_C.waiting_since),
    )


def cancel(connection: Connection, number: int) -> bool:
    """Want it to end: at once where it waits, else its trials are parked first. False if it has ended."""
    has_no_process = _C.state != "running"
    return _changed(
        connection,
        (_C.id == number) & _C.state.in_(LIVING),
        wanted="cancel",
        state=case((has_no_process, "cancelled"), else_=_C.state),
        living=case((has_no_process, null()), else_=_C.living),
        ended_at=case((has_no_process, time.time()), else_=_C.ended_at),
        message=case((has_no_process & (_C.deaths == 0), null()), else_=_C.message),  # `parked` says nothing any more
        waits=null(),
        position=null(),
    )


def begin(connection: Connection, number: int) -> bool:
    """The server starts it. False if it does not wait any more, since somebody was quicker.

    What is said of its last run is forgotten, unless its process has died.
    """
    is_it = (_C.id == number) & (_C.state == "queued") & (_C.wanted == "run")
    return _changed(
        connection,
        is_it,
        state="running",
        started_at=func.coalesce(_C.started_at, time.time()),
        message=case((_C.deaths > 0, _C.message), else_=null()),
        waits=null(),
        position=null(),
    )


def recover(connection: Connection, number: int) -> bool:
    """An epoch has ended since its process died: that is over, and nothing is said of it any more."""
    is_it = (_C.id == number) & (_C.state == "running") & (_C.deaths > 0)
    return _changed(connection, is_it, deaths=0, message=null())


def tell(connection: Connection, number: int, waits: str | None, position: int | None) -> bool:
    """Say why it waits, and its place in the queue. False if it does not wait any more."""
    return _changed(connection, (_C.id == number) & (_C.state == "queued"), waits=waits, position=position)


def end(connection: Connection, number: int, exit_code: int, message: str | None) -> bool:
    """Its run is over. What was interrupted is queued again, unless somebody wants it paused or cancelled.

    A run that ends in order ends the row of deaths before it.

    Args:
        connection: a transaction.
        number: of the submission.
        exit_code: of the run, as that of `cifar-tune run`, or `LATER`.
        message: how it ended, for people.

    Returns:
        False if it is not running: its end was written already.
    """
    words = _stored(message)
    if exit_code == INTERRUPTED:  # `parked` says nothing of what is cancelled: it does not go on
        return _end(connection, number, exit_code, case((_C.wanted == "cancel", null()), else_=words), deaths=0)
    return _end(connection, number, exit_code, words)


def _stored(message: str | None) -> str | None:
    return None if message is None else without_secrets_of_urls(message)[:_MESSAGE]


def _end(
    connection: Connection, number: int, exit_code: int, message: ColumnElement[str] | str | None, **more: object
) -> bool:
    state: ColumnElement[str] | str
    if exit_code in (INTERRUPTED, LATER):
        state = case((_C.wanted == "cancel", "cancelled"), (_C.wanted == "pause", "paused"), else_="queued")
    elif exit_code == 0:
        state = "done"
    else:
        state = case((_C.wanted == "cancel", "cancelled"), else_="failed")
    changed = _changed(
        connection,
        (_C.id == number) & (_C.state == "running"),
        state=state,
        waiting_since=time.time(),
        exit_code=exit_code if exit_code not in (INTERRUPTED, LATER) else null(),
        message=message,
        **more,
    )
    if changed:
        _free_name(connection, number)
    return changed


def requeue(connection: Connection, number: int, message: str, is_death: bool = False) -> bool:
    """Its process is gone without having written an end. As if it was interrupted; `is_death` counts it."""
    return _end(connection, number, INTERRUPTED, _stored(message), deaths=_C.deaths + (1 if is_death else 0))


def forget(connection: Connection, study: str, last: int) -> None:
    """Remove the submissions of a study that have ended, up to the one with the number `last`."""
    connection.execute(delete(SUBMISSIONS).where((_C.study == study) & (_C.id <= last) & _HAS_ENDED))


def _free_name(connection: Connection, number: int) -> None:
    """Free the name of the study if the submission has ended: another one may take it."""
    _changed(
        connection, (_C.id == number) & _HAS_ENDED, living=null(), ended_at=time.time(), waits=null(), position=null()
    )


def _changed(connection: Connection, is_it: ColumnElement[bool], **values: object) -> bool:
    # the state last: MySQL lets what comes after it see the new one
    ordered = sorted(values.items(), key=lambda each: each[0] == "state")
    change = update(SUBMISSIONS).where(is_it).ordered_values(*((_C[name], value) for name, value in ordered))
    return connection.execute(change).rowcount == 1


def of_row(row: Sequence[Any]) -> Submission:
    """What a row says, whose columns are in the order of the attributes of `Submission`."""
    values = dict(zip(_NAMES, row, strict=True))
    notify = values["notify"]
    values["notify"] = tuple(json.loads(notify) if isinstance(notify, str) else notify)
    return Submission(**values)


_NAMES: Final = tuple(each.name for each in fields(Submission) if each.name in _C)
_COLUMNS: Final = tuple(_C[name] for name in _NAMES)
_WITHOUT_TEXT: Final = tuple(literal("").label(each.name) if each.name == "text" else each for each in _COLUMNS)
_UNDECODED: Final = tuple(type_coerce(each, String) if each.name == "notify" else each for each in _WITHOUT_TEXT)
