"""What all routes share: the storage, the door, and the limits of this process."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from cifar_tune.errors import UserError
from cifar_tune.service import rights
from cifar_tune.service.people import Actor
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.allowed_files import rule_of
from cifar_tune.web.door import COOKIE, Door
from cifar_tune.web.guards import READING
from cifar_tune.web.listeners import Listeners
from cifar_tune.web.metrics import Metrics
from cifar_tune.web.models.queueing import Slots
from cifar_tune.web.news import News
from cifar_tune.web.queue_texts import QueueTexts
from cifar_tune.web.reading import Studies
from cifar_tune.web.results import Results
from cifar_tune.web.settings import WebSettings
from cifar_tune.web.shared_answers import SharedAnswers
from cifar_tune.web.summaries import Summaries
from cifar_tune.web.watched import Watched

if TYPE_CHECKING:
    from cifar_tune.web.oidc import Provider


def no_slots() -> Slots:
    """Where no server gives slots out."""
    return Slots(slots=[], as_of=None)


@dataclass
class Here:
    """One server.

    Attributes:
        engine: of the database.
        url: of the database.
        settings: what the administrator has decided.
        studies: of the database.
        metrics: of this process.
        parts: of the service, beside the database: each says `ok`, or what is wrong with it.
        slots: what the machine has, and who uses it.
        answers: that many ask for, as they were made a moment ago.
        provider: that people may log in with; None where they log in with tokens alone.
    """

    engine: Engine
    url: URL
    settings: WebSettings
    studies: Studies
    metrics: Metrics
    parts: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    slots: Callable[[], Slots] = no_slots
    results: Results = field(init=False)
    summaries: Summaries = field(init=False)
    queue_texts: QueueTexts = field(init=False)
    door: Door = field(init=False)
    answers: SharedAnswers = field(init=False)
    listeners: Listeners = field(init=False)
    news: News = field(init=False)
    watched: Watched = field(init=False)
    provider: "Provider | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.results = Results(self.studies)
        self.summaries = Summaries(self.studies)
        self.queue_texts = QueueTexts(self.summaries)
        self.door = Door(self.engine, self.settings)
        self.answers = SharedAnswers(self.engine, self.door)
        self.listeners = Listeners(self.settings.limits.listeners, self.settings.limits.listeners_each)
        self.news = News(self.engine, self.answers.newest)
        self.watched = Watched()
        if self.settings.oidc is not None:
            from cifar_tune.web.oidc import Provider  # noqa: PLC0415 (Authlib is an extra)

            self.provider = Provider(self.settings.oidc, self.settings.limits)

    def close(self) -> None:
        """Write what is still to be written, when no more requests come."""
        self.door.uses.write()

    def remembered(self, request: HTTPConnection) -> Actor | None:
        """Who reads something, of those who are known since the newest event; None of all others. Never blocks."""
        newest = self.answers.newest.peek() if request.scope["method"] in READING else None
        return None if newest is None else self.door.remembered(request, newest)

    def let_in(self, request: HTTPConnection) -> Actor:
        """Who asks. Reads the database, so that it blocks; whoever changes something is looked up each time.

        Raises:
            HTTPException: as `Door.require`.
        """
        newest = self.answers.newest.read() if request.scope["method"] in READING else None
        return self.door.require(request, newest)

    def desk(self, actor: Actor, tells_progress: bool = True) -> StorageDesk:
        """The desk for somebody: what they may do is decided there.

        Args:
            actor: who asks.
            tells_progress: whether submissions say how far they are; not needed where that is read anyway.
        """
        so_far = self.summaries.so_far if tells_progress else None
        return StorageDesk(self.engine, self.url, actor, rule_of(self.settings), so_far)


_BEARER = HTTPBearer(auto_error=False, description="A token, as `cifar-tune token create` makes them.")
_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, description="The session of a browser, opened by logging in.")


async def here_of(request: Request) -> Here:
    """The server that the request has come to. What does not block is no matter for a thread, which takes its time."""
    found: Here = request.app.state.here
    return found


HereNow = Annotated[Here, Depends(here_of)]


async def caller_of(
    request: Request,
    here: HereNow,
    _token: Annotated[object, Security(_BEARER)],
    _cookie: Annotated[object, Security(_COOKIE)],
) -> Actor:
    """Who asks. It is known once per request, and refused where nobody is known."""
    actor = here.remembered(request)
    return await run_in_threadpool(here.let_in, request) if actor is None else actor


Caller = Annotated[Actor, Depends(caller_of)]


async def reader_of(caller: Caller) -> Actor:
    """Who asks, where they may see studies."""
    rights.require(caller, "read", None, "see studies")
    return caller


Reader = Annotated[Actor, Depends(reader_of)]


async def desk_of(here: HereNow, caller: Caller) -> StorageDesk:
    """The desk for whoever asks."""
    return here.desk(caller)


AtDesk = Annotated[StorageDesk, Depends(desk_of)]


class StudyRoute(APIRoute):
    """A route that may read a study: it answers 404, and no error of ours, where that is deleted at that moment."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (KeyError, UserError) as error:
                if "name" in request.path_params:
                    name = request.path_params["name"]
                    await run_in_threadpool(_raise_if_gone, await here_of(request), name, error)
                raise

        return answered


def _raise_if_gone(here: Here, name: str, error: Exception) -> None:
    with here.studies.while_it_is_there(name):
        raise error


async def place_of(here: HereNow, caller: Caller) -> AsyncIterator[None]:
    """A place among the listeners; given back when the answer has ended."""
    with here.listeners.place(caller.name):
        yield


Place = Depends(place_of)
