"""optuna-dashboard behind the door: everybody who is known may look, and changes take a right and leave an event.

The dashboard knows nobody. It serves absolute paths, so these are its own here too. What it would delete is deleted by
the desk, which looks whether the study is in use, and gives its name free.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
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
from cifar_tune.optuna_tables import ids_of_studies, study_of_trial
from cifar_tune.service import rights
from cifar_tune.service.audit import Outcome, note
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import ConflictError, NotAllowedError, UnknownStudyError
from cifar_tune.web.guards import DASHBOARD_POLICY, READING, REPORT_POLICY
from cifar_tune.web.here import Here
from cifar_tune.web.listing import owner_of

PATHS = (
    "/dashboard", "/dashboard/{rest:path}", "/api/{rest:path}", "/static/{rest:path}", "/csv/{rest:path}",
    "/artifacts/{rest:path}", "/report/{rest:path}", "/favicon.ico",
)  # fmt: skip
"""All that optuna-dashboard serves, and our reports beside it."""

_WORKERS = 4
_LOGIN = "/login"
_STUDIES = re.compile(r"/api/studies/*")
_STUDY = re.compile(r"/api/(?:studies|artifacts)/(\d+)(?:/.*)?")
_DELETED = re.compile(r"/api/studies/(\d+)/*")
_RENAMED = re.compile(r"/api/studies/(\d+)/rename/*")
_TRIAL = re.compile(r"/api/trials/(\d+)/.*")
_FRAMES: Mapping[bytes, bytes] = {b"x-frame-options": b"SAMEORIGIN"}


def mount_dashboard(app: FastAPI, here: Here) -> None:
    """Let the app serve the dashboard under the dashboard's own paths."""
    gate = DashboardGate(here, WSGIMiddleware(pages(here.studies.storage, here.url), workers=_WORKERS))  # type: ignore[arg-type]
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
        actor = await run_in_threadpool(self._here.door.actor_of, request)
        if actor is None:
            if request.method in READING and "text/html" in request.headers.get("accept", ""):
                page = RedirectResponse(f"{_LOGIN}?next_page={quote(request.url.path)}", HTTPStatus.SEE_OTHER)
                await page(scope, receive, send)
                return
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "Log in, or send a token (Authorization: Bearer ct_...).")
        if request.method not in READING:
            answer = await run_in_threadpool(self._change, actor, request)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, _with_policy(send, request.url.path))

    def _change(self, actor: Actor, request: Request) -> Response | None:
        """Look whether somebody may change this, and write it down; the answer, where the dashboard is not asked.

        Raises:
            RefusedError: they may not.
        """
        path, action = request.url.path, f"dashboard {request.method}"
        study: str | None = None
        try:
            if _STUDIES.fullmatch(path):
                rights.require(actor, "submit", None, "make a study by hand")
            else:
                study = self._study_of(path)
                if _DELETED.fullmatch(path) and request.method == "DELETE":
                    self._here.desk(actor).delete(study)
                    return Response(status_code=HTTPStatus.NO_CONTENT)
                owner = owner_of(self._here.engine, study)
                rights.require(actor, "delete", owner, f"change the study {study!r}")
                if owner is not None and _RENAMED.fullmatch(path):
                    raise ConflictError(f"the study {study!r} was submitted, so its name stays")
        except (NotAllowedError, ConflictError, UnknownStudyError) as error:
            if not _DELETED.fullmatch(path):  # the desk has written that down
                _write(self._here.engine, actor, action, study, "refused", {"path": path, "why": str(error)})
            raise
        _write(self._here.engine, actor, action, study, "done", {"path": path})
        return None

    def _study_of(self, path: str) -> str:
        """The study that a change is about.

        Raises:
            UnknownStudyError: there is none.
        """
        trial, study = _TRIAL.fullmatch(path), _STUDY.fullmatch(path)
        number = int(study[1]) if study else None
        if trial:
            number = study_of_trial(self._here.engine, int(trial[1]))
        found = [name for name, each in ids_of_studies(self._here.engine).items() if each == number]
        if not found:
            raise UnknownStudyError("there is no such study")
        return found[0]


def _write(
    engine: Engine, actor: Actor, action: str, study: str | None, outcome: Outcome, detail: Mapping[str, object]
) -> None:
    with engine.begin() as connection:
        note(connection, actor.name, action, study, outcome, detail)


def _with_policy(send: Send, path: str) -> Send:
    """What its pages need; the dashboard shows files in frames of its own."""
    policy = REPORT_POLICY if path.startswith("/report/") else DASHBOARD_POLICY

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = {b"content-security-policy": policy.encode(), **_FRAMES}
            kept = [(name, each) for name, each in message["headers"] if name.lower() not in added]
            message = {**message, "headers": [*kept, *added.items()]}
        await send(message)

    return sent
