"""What happens: the record of events, and streams of it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.audit import last
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.here import AtDesk, Caller, Here, HereNow, Place
from cifar_tune.web.models.administration import Events, EventTold
from cifar_tune.web.models.queueing import told
from cifar_tune.web.problems import answers
from cifar_tune.web.reading import mark_of
from cifar_tune.web.routes import PREFIX
from cifar_tune.web.routes.queueing import Name
from cifar_tune.web.watched import Standing

router = APIRouter(prefix=PREFIX, tags=["events"])

_MOST = 500
_CHECK_SECONDS = 15.0
"""A listener whose token is revoked hears nothing any more after this long."""

_RETRY_MILLISECONDS = 2000
_FULL = answers(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

P = ParamSpec("P")
Told = TypeVar("Told")

LastId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=2**53, description="The last event that you received; browsers send it."),
]


def _last_heard(
    here: HereNow,
    _caller: Caller,
    last_event_id: LastId = None,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="The same, for programs.")] = None,
) -> int:
    """The event after which to begin. It is known before the answer begins: what happens from then on is heard."""
    with here.engine.connect() as connection:
        newest = last(connection)
    heard = last_event_id if last_event_id is not None else after
    return newest if heard is None else min(heard, newest)  # a higher one is of a database that was replaced since


def _require_study(name: Name, here: HereNow, desk: AtDesk) -> None:
    """Once the answer has begun, its status cannot say any more that there is no such study."""
    try:
        here.studies.require(name)
    except UnknownStudyError as error:
        _waiting(desk, name, error)


@router.get("/events", operation_id="events")
def events(
    here: HereNow,
    desk: AtDesk,
    after: Annotated[
        int | None, Query(ge=0, le=2**53, description="Only events after this one. Without it, the newest.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="The largest number of items in the answer.")] = 100,
) -> Events:
    """Who did what: the events in their order."""
    found = desk.events(after, min(limit, here.settings.limits.page))
    return Events(events=[EventTold.model_validate(each) for each in found], last=found[-1].id if found else after or 0)


@router.get(
    "/events/stream", response_class=EventSourceResponse, dependencies=[Place], responses=_FULL, operation_id="listen"
)
async def listen(
    request: Request, here: HereNow, desk: AtDesk, known: Annotated[int, Depends(_last_heard)]
) -> AsyncIterator[ServerSentEvent]:
    """Events as they happen, as server-sent events: those after `Last-Event-ID` or `after`, or from now on.

    A reconnect misses nothing, since the numbers have no gaps.
    """
    yield ServerSentEvent(comment="events", retry=_RETRY_MILLISECONDS)
    checked = time.monotonic()
    while (found := await _read(desk.events, known, _MOST)) is not None:
        for each in found:
            told = EventTold.model_validate(each)
            yield ServerSentEvent(id=str(each.id), event="event", raw_data=told.model_dump_json())
            known = each.id
        if time.monotonic() - checked >= _CHECK_SECONDS:
            checked = time.monotonic()
            if not await run_in_threadpool(_is_still_known, here, request):
                return
        if len(found) < _MOST:
            await here.news.wait_beyond(known, _CHECK_SECONDS)


@router.get(
    "/studies/{name:path}/stream",
    response_class=EventSourceResponse,
    dependencies=[Depends(_require_study), Place],
    responses=_FULL,
    operation_id="watch",
)
async def watch(
    name: Name,
    request: Request,
    here: HereNow,
    caller: Caller,
    known: Annotated[
        str,
        Header(
            alias="Last-Event-ID", max_length=100, description="The last state that you received; browsers send it."
        ),
    ] = "",
) -> AsyncIterator[ServerSentEvent]:
    """One study as it changes, as server-sent events.

    Each event `study` is the whole state, so a reconnect misses nothing: the status, the running trials with the value
    after each epoch, and the trials that ended last. Before the first run of a submitted study, each event `waiting` is
    its submission, with its position and why it waits. The stream ends when the study is deleted.
    """
    yield ServerSentEvent(comment="study", retry=_RETRY_MILLISECONDS)
    stands_for = await run_in_threadpool(here.answers.stands_for, caller, name)
    key, desk = (name, stands_for.name, stands_for.role), here.desk(stands_for)
    checked = time.monotonic()
    while True:
        left = max(0.0, checked + _CHECK_SECONDS - time.monotonic())
        with suppress(TimeoutError):
            seen = await here.watched.another(key, known, lambda: _read(_standing, here, desk, name), left)
            if seen is None:
                return
            yield ServerSentEvent(id=seen.mark, event=seen.kind, raw_data=seen.text)
            known = seen.mark
        if time.monotonic() - checked >= _CHECK_SECONDS:
            checked = time.monotonic()
            if not await run_in_threadpool(_is_still_known, here, request):
                return


def _standing(here: Here, desk: StorageDesk, name: str) -> Standing:
    """A study as it stands.

    Raises:
        UnknownStudyError: nobody has run or submitted a study of this name, or it was deleted.
    """
    try:
        with here.studies.while_it_is_there(name):
            return Standing("study", *here.studies.live(name))
    except UnknownStudyError as error:
        text = _waiting(desk, name, error)
        return Standing("waiting", mark_of(text), text)


def _waiting(desk: StorageDesk, name: str, unknown: UnknownStudyError) -> str:
    """The submission of a study that has not begun, as JSON.

    Raises:
        UnknownStudyError: `unknown`, if nobody has submitted it.
    """
    try:
        return told(desk.submission(name), with_text=False).model_dump_json()
    except UnknownStudyError:
        raise unknown from None


async def _read(read: Callable[P, Told], *args: P.args, **kwargs: P.kwargs) -> Told | None:
    """What is read in a thread; None if it cannot be: the answer has begun, so all it can do is end."""
    try:
        return await run_in_threadpool(read, *args, **kwargs)
    except (CifarTuneError, SQLAlchemyError, StorageInternalError):
        return None


def _is_still_known(here: Here, request: Request) -> bool:
    try:
        return here.door.actor_of(request) is not None
    except (HTTPException, SQLAlchemyError):
        return False
