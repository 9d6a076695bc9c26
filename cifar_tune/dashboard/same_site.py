"""Requests that pages of other sites make through a visitor's browser are refused.

Any page can let the browser of whoever reads it ask `http://127.0.0.1:8080` for something. The browser says so in two
headers that no page can set: `Origin`, the site that asks, and `Sec-Fetch-Site`, how it relates to us (Fetch Metadata,
https://www.w3.org/TR/fetch-metadata/). A link to the dashboard is followed: what opens, the other page cannot read.
"""

from collections.abc import Iterable, Set
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None

_OWN = ("same-origin", "none")
"""`none`: somebody typed the address, or opened a bookmark."""

_DEFAULT_PORTS = (":80", ":443")
_REFUSED = b"This was asked for by a page of another site, which may neither read nor change anything here.\n"


def same_site_only(app: WSGIApplication, allowed: Set[str]) -> WSGIApplication:
    """Refuse what other sites ask for, and let no answer invite them.

    optuna-dashboard sends `Access-Control-Allow-Origin: *` with files, whose names can be guessed.

    Args:
        app: answers the rest.
        allowed: names of this machine; a proxy under one of them may ask us by another.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo = None, /) -> Any:
            kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
            return start_response(status, [*kept, ("Cross-Origin-Resource-Policy", "same-origin")], exc_info)

        if _is_foreign(environ, allowed):
            status = HTTPStatus.FORBIDDEN
            start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
            return [_REFUSED]
        return app(environ, start)

    return guarded


def _is_foreign(environ: WSGIEnvironment, allowed: Set[str]) -> bool:
    """Whether a page of another site asks, as far as the browser says."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and not _is_own(origin, environ.get("HTTP_HOST", ""), allowed):
        return True
    site = environ.get("HTTP_SEC_FETCH_SITE")
    return site is not None and site not in _OWN and not _follows_a_link(environ)


def _is_own(origin: str, host: str, allowed: Set[str]) -> bool:
    """Whether an origin is the host that was asked, at its port; the scheme may be that of a proxy."""
    try:
        asking = urlsplit(origin)
        name = (asking.hostname or "").lower()
    except ValueError:  # brackets without an address
        return False
    return bool(name) and (name in allowed or _without_default_port(asking.netloc) == _without_default_port(host))


def _without_default_port(host: str) -> str:
    shown = host.lower()
    return next((shown.removesuffix(port) for port in _DEFAULT_PORTS if shown.endswith(port)), shown)


def _follows_a_link(environ: WSGIEnvironment) -> bool:
    """Whether somebody comes here from another page, in a tab of its own and not in a frame, to read."""
    return (
        environ.get("REQUEST_METHOD") in ("GET", "HEAD")
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
    )
