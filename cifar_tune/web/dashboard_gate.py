"""optuna-dashboard behind the door: everybody who is known may look, and changes take a right and leave events.

The dashboard knows nobody. It serves absolute paths, so these are its own here too. What it would delete is deleted by
the desk, which checks whether the study is in use, and frees its name.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifar_tune.dashboard.serve import pages
from cifar_tune.service import rights
from cifar_tune.service.audit import Outcome, note, note_refusal
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import RefusedError, UnknownStudyError
from cifar_tune.web.dashboard_changes import Wanted, is_beyond, require_change, wanted_change
from cifar_tune.web.guards import DASHBOARD_POLICY, FILE_POLICY, READING, REPORT_POLICY
from cifar_tune.web.here import Here

PATHS = (
    "/dashboard", "/dashboard/{rest:path}", "/api/{rest:path}", "/static/{rest:path}", "/csv/{rest:path}",
    "/artifacts/{rest:path}", "/report/{rest:path}", "/favicon.ico",
)  # fmt: skip
"""All that optuna-dashboard serves, and our reports beside it."""

_WORKERS = 4
_LOGIN = "/login"
_FRAMES: Mapping[bytes, bytes] = {b"x-frame-options": b"SAMEORIGIN"}
_POLICIES: Mapping[str, str] = {"/report/": REPORT_POLICY, "/artifacts/": FILE_POLICY}
_OF_BODIES = (b"content-length", b"transfer-encoding")


def mount_dashboard(app: FastAPI, here: Here) -> None:
    """Let the app serve the dashboard under the dashboard's own paths."""
    app_of_theirs = pages(here.studies.storage, here.url, here.results.kept_importances)
    gate = DashboardGate(here, WSGIMiddleware(app_of_theirs, workers=_WORKERS))  # type: ignore[arg-type]
    app.router.routes += [Route(path, gate, include_in_schema=False) for path in PATHS]


class DashboardGate:
    """Lets through what somebody may do.

    Args:
        here: the server.
        app: the dashboard.
    """

    def __init__(self, here: Here, app: ASGIApp) -> None:
        self._here = here
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        path: str = scope["path"]
        actor = await run_in_threadpool(self._here.door.actor_of, request)
        if actor is None:
            if request.method in READING and "text/html" in request.headers.get("accept", ""):
                page = RedirectResponse(f"{_LOGIN}?next_page={quote(path)}", HTTPStatus.SEE_OTHER)
                await page(scope, receive, send)
                return
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "Log in, or send a token (Authorization: Bearer ct_...).")
        rights.require(actor, "read", None, "see studies")
        if is_beyond(path):
            raise UnknownStudyError("no study or trial has a number this high")
        sent = _with_policy(send, path)
        # the whole body is there before one of the few threads of the dashboard begins to work
        if request.method in READING:
            await self._app(_with_headers(scope, ()), _given(b""), sent)
            return
        body = await request.body()
        answer = await run_in_threadpool(self._deleted_or_asked, actor, request.method, path, _read(body))
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        length = (b"content-length", str(len(body)).encode())
        await self._changed(actor, answer, _with_headers(scope, (length,)), body, sent)

    def _deleted_or_asked(
        self, actor: Actor, method: str, path: str, body: Mapping[str, Any]
    ) -> Response | tuple[str, str | None]:
        """Delete a study, or see that somebody may change something, and write down that they will.

        Returns:
            The answer to a deletion, else the action and the study of the event.

        Raises:
            RefusedError: they may not.
        """
        storage, action = self._here.studies.storage, f"dashboard {method}"
        wanted: Wanted | None = None
        try:
            wanted = wanted_change(storage, method, path)
            if not wanted.kind.deletes:
                require_change(storage, actor, wanted, body)
        except KeyError as error:
            raise UnknownStudyError("the study was deleted a moment ago") from error
        except RefusedError as error:
            study = None if wanted is None else wanted.study
            with self._here.engine.begin() as connection:
                note_refusal(connection, actor.name, action, study, "refused", {"path": path, "why": str(error)})
            raise
        if wanted.kind.deletes and wanted.study is not None:
            self._here.desk(actor).delete(wanted.study)  # it writes its own event
            return Response(status_code=HTTPStatus.NO_CONTENT)
        _write(self._here.engine, actor, action, wanted.study, "asked", {"path": path})
        return action, wanted.study

    async def _changed(
        self, actor: Actor, event: tuple[str, str | None], scope: Scope, body: bytes, send: Send
    ) -> None:
        """Let the dashboard change something, write down what came of it, and only then send its answer."""
        told: list[Message] = []

        async def kept(message: Message) -> None:
            told.append(message)

        try:
            await self._app(scope, _given(body), kept)
        finally:
            status = next((message["status"] for message in told if message["type"] == "http.response.start"), None)
            outcome: Outcome = "done" if status is not None and status < HTTPStatus.BAD_REQUEST else "failed"
            detail = {"path": scope["path"], "status": status}
            await run_in_threadpool(_write, self._here.engine, actor, *event, outcome, detail)
        for message in told:
            await send(message)


def _write(
    engine: Engine, actor: Actor, action: str, study: str | None, outcome: Outcome, detail: Mapping[str, object]
) -> None:
    with engine.begin() as connection:
        note(connection, actor.name, action, study, outcome, detail)


def _read(body: bytes) -> Mapping[str, Any]:
    """The JSON object that a change brings along; without one, an empty one.

    Raises:
        HTTPException: it is something else, which the dashboard cannot bear.
    """
    try:
        found = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "The body must be a JSON object.")
    return found


def _with_headers(scope: Scope, more: tuple[tuple[bytes, bytes], ...]) -> Scope:
    """The request with other headers about its body; the dashboard needs to know which encodings a client takes."""
    kept = [(name, value) for name, value in scope["headers"] if name not in _OF_BODIES]
    if not any(name == b"accept-encoding" for name, _ in kept):
        kept.append((b"accept-encoding", b"identity"))
    return {**scope, "headers": [*kept, *more]}


def _given(body: bytes) -> Receive:
    """What a body that is there already is received by."""

    async def received() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return received


def _with_policy(send: Send, path: str) -> Send:
    """What its pages need; the dashboard shows files in frames of its own."""
    policy = next((each for start, each in _POLICIES.items() if path.startswith(start)), DASHBOARD_POLICY)

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = {b"content-security-policy": policy.encode(), **_FRAMES}
            kept = [(name, each) for name, each in message["headers"] if name.lower() not in added]
            message = {**message, "headers": [*kept, *added.items()]}
        await send(message)

    return sent
