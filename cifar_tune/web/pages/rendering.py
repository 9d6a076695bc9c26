"""From templates to pages."""

import time
from datetime import datetime
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cifar_tune.service.people import Actor
from cifar_tune.web.assets import fingerprint
from cifar_tune.wording import metric_figure, rough_duration


def page(request: Request, actor: Actor | None, template: str, **contents: object) -> HTMLResponse:
    """A page as somebody sees it.

    Args:
        request: that asks for it.
        actor: who asks; None if nobody is known.
        template: its file.
        contents: for the template.
    """
    text = _environment().get_template(template).render(actor=actor, path=request.url.path, now=time.time(), **contents)
    return HTMLResponse(text)


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
