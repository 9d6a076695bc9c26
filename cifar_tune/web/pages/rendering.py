"""From templates to pages, and from problems to pages where somebody looks at them in a browser."""

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import cache, lru_cache
from http import HTTPStatus
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.people import Actor
from cifar_tune.web.assets import fingerprint
from cifar_tune.web.problems import Handler
from cifar_tune.web.routes import PREFIX
from cifar_tune.wording import metric_figure, rough_duration

_OF_VISITORS = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""What goes wrong for people who are let in. With all else, nobody may be known, or the database may be away."""

_FOR_PROGRAMS = (f"{PREFIX}/", "/api/", "/static/", "/metrics", "/healthz", "/readyz")


def page(request: Request, actor: Actor | None, template: str, **contents: object) -> HTMLResponse:
    """A page as somebody sees it.

    Args:
        request: that asks for it.
        actor: who asks; None if nobody is known.
        template: its file.
        contents: for the template.
    """
    made = _environment().get_template(template)
    return HTMLResponse(made.render(actor=actor, path=request.url.path, now=time.time(), **contents))


def wants_page(request: HTTPConnection) -> bool:
    """Whether whoever asks is shown problems as pages: somebody with a browser, and no program."""
    return "text/html" in request.headers.get("accept", "") and not request.scope["path"].startswith(_FOR_PROGRAMS)


def as_page(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The same handler, whose problems are pages for browsers. Programs get them as they are."""

    async def shown(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        if not wants_page(request) or answer.status_code < HTTPStatus.BAD_REQUEST:
            return answer
        told = json.loads(bytes(answer.body))
        actor = await run_in_threadpool(_visitor, request) if answer.status_code in _OF_VISITORS else None
        made = page(request, actor, "error.html", title=told["title"], detail=told["detail"])
        made.status_code = answer.status_code
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        made.headers.update(kept)
        return made

    return shown


def _visitor(request: Request) -> Actor | None:
    """Whoever is logged in, so that an error leaves them the way to all pages; None where that cannot be told."""
    if "authorization" in request.headers:  # a token that is wrong must not count twice
        return None
    with suppress(CifarTuneError, HTTPException, SQLAlchemyError, StorageInternalError):
        found: Actor | None = request.app.state.here.door.actor_of(request)
        return found
    return None


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cifar_tune.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(duration=rough_duration, when=_when, iso=_iso, part=_part, figure=metric_figure)
    environment.globals.update(asset=lambda name: f"/assets/{name}?{fingerprint(name)}")
    return environment


@lru_cache(10_000)
def _part(text: object) -> str:
    """A part of the path of a URL. A page has those of a hundred names, each time the same ones."""
    return quote(str(text), safe="")


def _when(seconds: float) -> str:
    """A time for people, of the server's clock; the page's script turns it into that of the browser."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
