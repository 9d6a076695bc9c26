"""From templates to pages, and from problems to pages where somebody looks at them in a browser."""

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import cache
from html import escape
from http import HTTPStatus
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from cifar_tune.service.audit import last
from cifar_tune.service.people import Actor
from cifar_tune.web.assets import fingerprint
from cifar_tune.web.here import Here
from cifar_tune.web.problems import Handler
from cifar_tune.web.routes import PREFIX
from cifar_tune.wording import metric_figure, rough_duration

_ANYBODY = secrets.token_hex(16)
"""Stands where the name of whoever asks is put in: no page holds it otherwise."""

_FOR_PROGRAMS = (f"{PREFIX}/", "/api/", "/static/", "/metrics", "/healthz", "/readyz")


def page(request: Request, actor: Actor | None, template: str, **contents: object) -> HTMLResponse:
    """A page as somebody sees it.

    Args:
        request: that asks for it.
        actor: who asks; None if nobody is known.
        template: its file.
        contents: for the template.
    """
    return HTMLResponse(_rendered(request, actor, template, contents))


def shared_page(
    request: Request, here: Here, actor: Actor, sort: object, template: str, make: Callable[[], Mapping[str, object]]
) -> HTMLResponse:
    """A page that is the same for many, but for their names: made once in a second, and anew after each event.

    Args:
        request: that asks for it.
        here: the server.
        actor: who asks.
        sort: people of the same role see the same page where this is the same.
        template: its file.
        make: the contents for the template.
    """
    with here.engine.connect() as connection:
        key = str(request.url), actor.role, sort, last(connection)
    anybody = Actor(_ANYBODY, actor.role)
    text = here.pages.get(key, object, lambda: _rendered(request, anybody, template, make()))
    return HTMLResponse(text.replace(_ANYBODY, escape(actor.name)))


def _rendered(request: Request, actor: Actor | None, template: str, contents: Mapping[str, object]) -> str:
    return _environment().get_template(template).render(actor=actor, path=request.url.path, now=time.time(), **contents)


def as_page(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The same handler, whose problems are pages for browsers. Programs get them as they are."""

    async def shown(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        is_for_people = "text/html" in request.headers.get("accept", "") and not request.scope["path"].startswith(
            _FOR_PROGRAMS
        )
        if not is_for_people or answer.status_code < HTTPStatus.BAD_REQUEST:
            return answer
        told = json.loads(bytes(answer.body))
        made = page(request, None, "error.html", title=told["title"], detail=told["detail"])
        made.status_code = answer.status_code
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        made.headers.update(kept)
        return made

    return shown


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cifar_tune.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        duration=rough_duration, when=_when, iso=_iso, part=lambda text: quote(str(text), safe=""), figure=metric_figure
    )
    environment.globals.update(asset=lambda name: f"/assets/{name}?{fingerprint(name)}")
    return environment


def _when(seconds: float) -> str:
    """A time for people, of the server's clock; the page's script turns it into that of the browser."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
