"""Requests that pages of other sites make through a visitor's browser are refused.

Any page can let the browser of whoever reads it ask `http://127.0.0.1:8080` for something. The browser says so in two
headers that no page can set: `Origin`, the site that asks, and `Sec-Fetch-Site`, how it relates to us (Fetch Metadata,
https://www.w3.org/TR/fetch-metadata/). Links to the dashboard work from anywhere: the page that holds the link cannot
read what opens.
"""

import re
from collections.abc import Iterable, Mapping, Set
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None

_OWN = ("same-origin", "none")
"""`none`: somebody typed the address, or opened a bookmark."""

_LOOPBACK = ("localhost", "127.0.0.1")
_DEFAULT_PORTS = (":80", ":443")
_HEADERS = [("Cross-Origin-Resource-Policy", "same-origin"), ("X-Frame-Options", "SAMEORIGIN")]
"""No other page may show pictures or files of ours as its own, or us in a frame, where clicks can be stolen."""

_REFUSED = "This was asked for by a page of another site, which may neither read nor change anything here."


def same_site_only(app: WSGIApplication, allowed: Set[str]) -> WSGIApplication:
    """Refuse what other sites ask for, and let no answer invite them.

    optuna-dashboard sends `Access-Control-Allow-Origin: *` with every file, and the names of files can be guessed.

    Args:
        app: answers all other requests.
        allowed: names by which the user allowed this machine to be called. The page may come from one of them while
            the request names another host: proxies often replace the host.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo = None, /) -> Any:
            kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
            return start_response(status, [*kept, *_HEADERS], exc_info)

        if _asks_from_elsewhere(environ, allowed):
            status = HTTPStatus.FORBIDDEN
            start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{_REFUSED}{_advice(environ)}\n".encode()]
        return app(environ, start)

    return guarded


def _asks_from_elsewhere(environ: WSGIEnvironment, allowed: Set[str]) -> bool:
    names = ("Host", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
    given = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in names}
    headers = {name: str(value) for name, value in given.items() if value is not None}
    return is_foreign(str(environ.get("REQUEST_METHOD")), headers, allowed)


def is_foreign(method: str, headers: Mapping[str, str], allowed: Set[str]) -> bool:
    """Whether a page of another site asks, as far as the browser says.

    Args:
        method: of the request.
        headers: by their names as they are usually written, such as `Sec-Fetch-Site`.
        allowed: as in `same_site_only`.
    """
    origin = headers.get("Origin")
    if origin is not None and not _is_own(origin, headers.get("Host", ""), allowed):
        return True
    site = headers.get("Sec-Fetch-Site")
    return site is not None and site not in _OWN and not _follows_a_link(method, headers)


def _advice(environ: WSGIEnvironment) -> str:
    """What to do if the other site is a proxy that stands before us."""
    name = _host_name(environ.get("HTTP_ORIGIN", ""))
    if not name or name in _LOOPBACK or ":" in name:  # another program of this machine, or an address that is no name
        return ""
    return f" If {name} is meant to be this machine, start the dashboard with --allow-host {name}."


def _is_own(origin: str, host: str, allowed: Set[str]) -> bool:
    """Whether an origin is the host that was asked, at its port; the scheme may be that of a proxy.

    A proxy that replaces the host has one of the allowed names, and a port that browsers leave out, or ours. What
    listens at another port of the same machine may be somebody else's.
    """
    name = _host_name(origin)
    if not name:
        return False
    here, there = _without_default_port(host), _without_default_port(urlsplit(origin).netloc)
    return there == here or (name in allowed and there.removeprefix(name) in ("", _port(here)))


def _port(host: str) -> str:
    """The port of a host with its colon; empty if it has none."""
    found = re.search(r":\d+$", host)
    return found[0] if found else ""


def _host_name(origin: str) -> str:
    """The host of an origin in lower case; empty if it has none, as `null`."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:  # brackets without an address
        return ""


def _without_default_port(host: str) -> str:
    shown = host.lower()
    return next((shown.removesuffix(port) for port in _DEFAULT_PORTS if shown.endswith(port)), shown)


def _follows_a_link(method: str, headers: Mapping[str, str]) -> bool:
    """Whether somebody comes here from another page, in a tab of its own and not in a frame, to read."""
    is_navigation = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return method in ("GET", "HEAD") and is_navigation
