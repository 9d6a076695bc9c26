"""What happens: the record of events, and streams of it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.event_streams import KEEP_ALIVE, STREAM_DOCUMENTED, EventStream, opening
from cifar_tune.web.here import AtDesk, Caller, Here, HereNow, Place, Reader
from cifar_tune.web.models.administration import Events, EventTold
from cifar_tune.web.models.queueing import told
from cifar_tune.web.problems import answers
from cifar_tune.web.reading import mark_of
from cifar_tune.web.routes import PREFIX
from cifar_tune.web.routes.queueing import Name
from cifar_tune.web.watched import Standing, standing

router = APIRouter(prefix=PREFIX, tags=["events"])

_CHECK_SECONDS = 15.0
"""A listener whose token is revoked, or who has another role now, hears nothing any more after this long."""

_STREAM = {**STREAM_DOCUMENTED, **answers(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)}

_UNREADABLE = (CifarTuneError, SQLAlchemyError, StorageInternalError)

P = ParamSpec("P")
Told = TypeVar("Told")

LastId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=2**53, description="The last event that you received; browsers send it."),
]


async def _last_heard(
    here: HereNow,
    _reader: Reader,
    last_event_id: LastId = None,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="The same, for programs.")] = None,
) -> int:
    """The event after which to begin. It is known before the answer begins: what happens from then on is heard."""
    newest = here.answers.newest.peek()
    if newest is None:
        newest = await run_in_threadpool(here.answers.newest.read)
    heard = last_event_id if last_event_id is not None else after
    return newest if heard is None else min(heard, newest)  # a higher one is of a database that was replaced since


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


@router.get("/events/stream", response_class=Response, dependencies=[Place], responses=_STREAM, operation_id="listen")
async def listen(
    request: Request, here: HereNow, caller: Caller, known: Annotated[int, Depends(_last_heard)]
) -> Response:
    """Events as they happen, as server-sent events: those after `Last-Event-ID` or `after`, or from now on.

    A reconnect misses nothing, since the numbers have no gaps.
    """
    return EventStream(_listen(_Check(request, here, caller), here, known))


async def _listen(check: "_Check", here: Here, known: int) -> AsyncIterator[bytes]:
    yield opening("events")
    while True:
        try:
            found = await here.news.after(known, check.left)
        except _UNREADABLE:  # the answer has begun, so all it can do is end
            return
        if found:
            known = found[-1].number
            check.is_quiet = False
            yield b"".join(each.text for each in found)
        if not check.left:
            if not await check.is_still_known():
                return
            if check.was_quiet:
                yield KEEP_ALIVE


@dataclass(frozen=True, slots=True)
class _Watching:
    """A study that is watched: what those share who are told the same of it, and what looks."""

    key: tuple[str, str, str]
    read: Callable[[], Awaitable[Standing | None]]


async def _watching(name: Name, here: HereNow, caller: Caller) -> _Watching:
    """Look at the study for the first time: once the answer has begun, its status cannot say that there is none."""
    stands_for = await here.answers.stands_for(caller, name)
    desk = here.desk(stands_for)
    watching = _Watching((name, stands_for.name, stands_for.role), lambda: _read(_standing, here, desk, name))
    with suppress(TimeoutError):
        if await here.watched.another(watching.key, "", watching.read, _CHECK_SECONDS) is not None:
            return watching
    await run_in_threadpool(_require_study, here, desk, name)
    return watching


@router.get(
    "/studies/{name:path}/stream",
    response_class=Response,
    dependencies=[Place],
    responses=_STREAM,
    operation_id="watch",
)
async def watch(
    request: Request,
    here: HereNow,
    caller: Caller,
    watching: Annotated[_Watching, Depends(_watching)],
    known: Annotated[
        str,
        Header(
            alias="Last-Event-ID", max_length=100, description="The last state that you received; browsers send it."
        ),
    ] = "",
) -> Response:
    """One study as it changes, as server-sent events.

    Each event `study` is the whole state, so a reconnect misses nothing: the status, the running trials with the value
    after each epoch, and the trials that ended last. Before the first run of a submitted study, each event `waiting` is
    its submission, with its position and why it waits. The stream ends when the study is deleted.
    """
    return EventStream(_watch(_Check(request, here, caller), here, watching, known))


async def _watch(check: "_Check", here: Here, watching: _Watching, known: str) -> AsyncIterator[bytes]:
    yield opening("study")
    while True:
        with suppress(TimeoutError):
            seen = await here.watched.another(watching.key, known, watching.read, check.left)
            if seen is None:
                return
            known = seen.mark
            check.is_quiet = False
            yield seen.told
        if not check.left:
            if not await check.is_still_known():
                return
            if check.was_quiet:
                yield KEEP_ALIVE


class _Check:
    """Of a listener: looks now and then whether they may still listen, and whether anything was sent.

    Attributes:
        is_quiet: whether nothing was sent since the last look.
        was_quiet: whether nothing was sent between the last look and the one before.
    """

    def __init__(self, request: Request, here: Here, caller: Actor) -> None:
        self._request = request
        self._here = here
        self._caller = caller
        self._looked = time.monotonic()
        self.is_quiet = self.was_quiet = True

    @property
    def left(self) -> float:
        """Seconds until it is time to look."""
        return max(0.0, self._looked + _CHECK_SECONDS - time.monotonic())

    async def is_still_known(self) -> bool:
        """Whether whoever listens is still let in, as the same person with the same role as when they began."""
        self._looked = time.monotonic()
        self.was_quiet, self.is_quiet = self.is_quiet, True
        now = self._here.remembered(self._request)
        try:
            now = now or await run_in_threadpool(self._here.let_in, self._request)
        except (HTTPException, *_UNREADABLE):
            return False
        return now == self._caller


def _require_study(here: Here, desk: StorageDesk, name: str) -> None:
    try:
        here.studies.require(name)
    except UnknownStudyError as error:
        _waiting(desk, name, error)


def _standing(here: Here, desk: StorageDesk, name: str) -> Standing:
    """A study as it stands.

    Raises:
        UnknownStudyError: nobody has run or submitted a study of this name, or it was deleted.
    """
    try:
        with here.studies.while_it_is_there(name):
            return standing("study", *here.studies.live(name))
    except UnknownStudyError as error:
        text = _waiting(desk, name, error)
        return standing("waiting", mark_of(text), text)


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
    except _UNREADABLE:
        return None
