"""Answers that many people ask for at the same time: each is made once in two seconds, and anew after each event.

Whoever asks is let in first, by the door that lets everybody in. Then an answer is made as somebody without a name, who
has the same role and owns nothing, would get it. So what is kept of it holds nothing of the person who came first. Who
owns what they ask for gets an answer of their own.
"""

import asyncio
import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from threading import Lock
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifar_tune.service import rights
from cifar_tune.service.names import owner_of_name
from cifar_tune.service.newest_event import NewestEvent
from cifar_tune.service.people import Actor
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.web.door import VISITOR, Door
from cifar_tune.web.pages.rendering import wants_page

ANYBODY = secrets.token_hex(16)
"""The name for which an answer is made that many get. A page shows the name of its visitor in its place."""

_SECONDS = 2.0
_SHARE = 10
"""Making an answer again takes at most one part in this many of the time, however large the study."""
_LONGEST_SECONDS = 10.0
_GRACE_SECONDS = 1.0
"""For so long after that, whoever asks gets the old answer at once, and has a new one made for those who come next."""

_MOST = 500
_MOST_BYTES = 32 * 2**20
_LOOKING = 4
"""Threads that look who asks and what has happened since: never behind those that make answers."""

Own = Literal["nothing", "the study", "anything"]
"""Whose answers to a path differ from those of others with the same role: those of nobody, of whoever owns the study
whose name the path ends with, or of everybody who may own something."""

_PATHS: Mapping[str, Own] = {
    "/": "nothing",
    "/slots": "nothing",
    "/events": "nothing",
    "/v1/studies": "nothing",
    "/v1/slots": "nothing",
    "/v1/queue": "anything",  # addresses of notifications
    "/api/studies": "nothing",  # what optuna-dashboard reads at each look
}
_OF_STUDIES = ("/studies/", "/v1/studies/")
_OF_ONE_STUDY = re.compile(r"/(?:stream|live|log|trials|best|front|importances|report|compare|model)(?:/|$)")


def what_is_own(path: str) -> tuple[Own, str] | None:
    """Whose answers to a path differ, and the study whose owner that is; None for what is made for each request."""
    if path in _PATHS:
        return _PATHS[path], ""
    start = next((each for each in _OF_STUDIES if path.startswith(each)), None)
    if start is None:
        return None
    name = path.removeprefix(start)
    return None if start == _OF_STUDIES[1] and _OF_ONE_STUDY.search(name) else ("the study", name)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent.

    Attributes:
        status: of HTTP.
        headers: without the length of the body.
        parts: of the body; between each two of them stands the name of the visitor.
        route: that has answered.
        is_json: whether the name is put in as JSON, and not as HTML.
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    parts: Sequence[bytes]
    route: object
    is_json: bool

    async def send(self, actor: Actor, scope: Scope, send: Send) -> None:
        """Answer a request of this person."""
        scope["route"] = self.route
        body = self.parts[0]
        if len(self.parts) > 1:
            name = json.dumps(actor.name)[1:-1] if self.is_json else escape(actor.name)
            body = name.encode().join(self.parts)
        headers = [*self.headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class _Visit:
    """Who asks, and what was known then.

    Attributes:
        newest: the number of the newest event.
        actor: who asks.
        stands_for: for whom the answer is made.
    """

    newest: int
    actor: Actor
    stands_for: Actor


@dataclass(frozen=True, slots=True)
class _Kept:
    newest: int
    until: float
    answer: Answer


_Key = tuple[str, bytes, str, str, bool]
"""Path, query, role and name for which it is made, and whether problems are shown as pages."""

_Flight = tuple[asyncio.AbstractEventLoop, _Key, int]


class SharedAnswers:
    """Those of one server.

    Attributes:
        newest: knows the number of the newest event.

    Args:
        engine: of the database.
        door: lets people in.
        clock: seconds that never run backwards.
    """

    def __init__(self, engine: Engine, door: Door, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self.newest = NewestEvent(engine)
        self._door = door
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._bytes = 0
        self._owners: OrderedDict[str, tuple[int, str | None]] = OrderedDict()
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(_LOOKING, "looks")
        self._being_made: dict[_Flight, asyncio.Future[Answer | None]] = {}
        self._renewing: set[asyncio.Task[Answer]] = set()

    async def visit(self, scope: Scope, own: tuple[Own, str]) -> _Visit | None:
        """Who asks, and for whom the answer may be made; None where the request is answered in the ordinary way."""
        request = HTTPConnection(scope)
        found = self._visit_at_once(request, own)
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._visit, request, own)
        return found

    def _visit_at_once(self, request: HTTPConnection, own: tuple[Own, str]) -> _Visit | None:
        """The same where all is known but the newest event, and that is known without waiting: a thread costs more."""
        newest = self.newest.peek()
        actor = None if newest is None else self._door.remembered(request, newest)
        if newest is None or actor is None or not rights.is_allowed(actor, "read", None):
            return None
        if self._may_own(actor, own) and own[0] == "the study" and self._known_owner(own[1], newest) is None:
            return None
        return _Visit(newest, actor, self._stands_for(actor, own, newest))

    def _visit(self, request: HTTPConnection, own: tuple[Own, str]) -> _Visit | None:
        try:
            newest = self.newest.read()
            actor = self._door.actor_of(request, newest)
            if actor is None or not rights.is_allowed(actor, "read", None):
                return None
            return _Visit(newest, actor, self._stands_for(actor, own, newest))
        except HTTPException as error:
            request.scope[VISITOR] = error  # it is raised again where errors become answers, and counted once
            return None
        except (SQLAlchemyError, DatabaseGoneError):  # the ordinary way meets them too, where they become answers
            return None

    async def stands_for(self, actor: Actor, study: str) -> Actor:
        """As whom somebody may be told of a study, together with others."""
        own: tuple[Own, str] = "the study", study
        if not self._may_own(actor, own):
            return Actor(ANYBODY, actor.role)
        look = asyncio.get_running_loop().run_in_executor
        return await look(self._threads, lambda: self._stands_for(actor, own, self.newest.read()))

    def _stands_for(self, actor: Actor, own: tuple[Own, str], newest: int) -> Actor:
        is_own = self._may_own(actor, own) and self._is_own(actor, own, newest)
        return actor if is_own else Actor(ANYBODY, actor.role)

    def _may_own(self, actor: Actor, own: tuple[Own, str]) -> bool:
        return actor.role == "editor" and own[0] != "nothing"

    def _known_owner(self, study: str, newest: int) -> tuple[int, str | None] | None:
        """Whose a study is since the event of this number; None if that is not known."""
        with self._lock:
            known = self._owners.get(study)
        return None if known is None or known[0] != newest else known

    def _is_own(self, actor: Actor, own: tuple[Own, str], newest: int) -> bool:
        kind, study = own
        if kind == "anything":
            return True
        known = self._known_owner(study, newest)
        if known is None:
            with self._engine.connect() as connection:
                known = newest, owner_of_name(connection, study)
            with self._lock:
                self._owners[study] = known
                while len(self._owners) > _MOST:
                    self._owners.popitem(last=False)
        return known[1] == actor.name

    async def get(self, scope: Scope, visit: _Visit, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer: the kept one where it is right, else what `make` returns. Others who want the same wait for it.

        Args:
            scope: of the request.
            visit: see `visit`.
            make: makes it for `visit.stands_for`.
        """
        for_whom = visit.stands_for
        is_page = wants_page(HTTPConnection(scope))
        key = scope["path"], scope["query_string"], for_whom.role, for_whom.name, is_page
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        flight = asyncio.get_running_loop(), key, visit.newest
        other = self._being_made.get(flight)
        if kept is not None and kept.newest == visit.newest:
            late = self._clock() - kept.until
            if 0 <= late < _GRACE_SECONDS and other is None:
                task = asyncio.create_task(self._make(flight, self._promise(flight), make))
                self._renewing.add(task)
                task.add_done_callback(self._renewed)
            if late < _GRACE_SECONDS:
                return kept.answer
        if other is not None:
            return await asyncio.shield(other) or await make()
        return await self._make(flight, self._promise(flight), make)

    def _promise(self, flight: _Flight) -> asyncio.Future[Answer | None]:
        mine = self._being_made[flight] = flight[0].create_future()
        return mine

    def _renewed(self, task: asyncio.Task[Answer]) -> None:
        self._renewing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asks after the grace waits for an answer, and is told what is wrong

    async def _make(
        self, flight: _Flight, mine: asyncio.Future[Answer | None], make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Make an answer for all who wait for it, and keep it."""
        _, key, newest = flight
        answer = None
        try:
            began = self._clock()
            answer = await make()
            if answer.status == HTTPStatus.OK:
                took = self._clock() - began
                until = began + max(_SECONDS, min(_SHARE * took, _LONGEST_SECONDS))
                self._keep(key, _Kept(newest, until, answer))
            return answer
        finally:
            del self._being_made[flight]
            mine.set_result(answer)

    def _keep(self, key: _Key, kept: _Kept) -> None:
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = kept
            self._bytes += _size(kept) - (0 if before is None else _size(before))
            while len(self._kept) > _MOST or (self._bytes > _MOST_BYTES and len(self._kept) > 1):
                self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(kept: _Kept) -> int:
    return sum(map(len, kept.answer.parts))


class Sharing:
    """The part of the app that answers such requests, once the guards have let them pass.

    Args:
        app: makes the answers.
        answers: returns those that are kept.
    """

    def __init__(self, app: ASGIApp, answers: Callable[[], SharedAnswers]) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        own = what_is_own(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        answers = self._answers()
        visit = None if own is None else await answers.visit(scope, own)
        if visit is None:
            await self._app(scope, receive, send)
            return

        async def make() -> Answer:
            return await self._made({**scope, VISITOR: visit.stands_for}, receive)

        await (await answers.get(scope, visit, make)).send(visit.actor, scope, send)

    async def _made(self, scope: Scope, receive: Receive) -> Answer:
        start: Message = {}
        body: list[bytes] = []

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.append(message.get("body", b""))

        await self._app(scope, receive, told)
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        is_json = any(name.lower() == b"content-type" and b"json" in value for name, value in headers)
        parts = b"".join(body).split(ANYBODY.encode())
        return Answer(start["status"], headers, parts, scope.get("route"), is_json)
