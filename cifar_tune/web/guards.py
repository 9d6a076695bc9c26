"""What every request must pass before anything looks at it, and what every answer carries.

Requests for another host than this machine are refused, on 127.0.0.1 as well: the name in the request gives away a page
that has let its own name point here (DNS rebinding). So are requests that pages of other sites make through a visitor's
browser. A body that never ends, or never comes, costs its sender alone.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifar_tune.dashboard.host_names import as_address, host_part, is_loopback
from cifar_tune.dashboard.same_site import is_foreign
from cifar_tune.errors import enumerate_names
from cifar_tune.web.problems import problem

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Pages take nothing from elsewhere, and no script that stands in the page itself."""

REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'; sandbox allow-scripts allow-popups allow-downloads"
)
"""A report is one file with its scripts in it. In its sandbox it is a site of its own, that can ask us for nothing."""

FILE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; frame-ancestors 'self'; sandbox allow-scripts allow-popups allow-downloads"
)
"""A file that somebody has uploaded may be a page with scripts. In its sandbox it is a site of its own too."""

DASHBOARD_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
)
"""What optuna-dashboard needs: its plots are compiled in the browser. A script in somebody's note does not run."""

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise itself."""

_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
_SERVER = (b"server", b"cifar-tune")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::\d{1,5})?", re.ASCII)
_LOOKED_AT = ("Host", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")


Seen = Callable[[str, str, int, float], None]
"""Is told of every answer: method, route, status and seconds."""


class Guards:
    """The outermost part of the app.

    Args:
        app: answers what passes.
        host: the address that the server listens on.
        names: by which it may be called (`host_names.own_names`).
        allowed: those of them that the user named. A page may come from one of them while the request names another
            host: proxies often replace the host.
        body_seconds: until a request must have sent its whole body.
        only_tls: whether browsers must use TLS only for this host from now on, at each of its ports.
        seen: is told of every answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        names: Set[str],
        allowed: Set[str],
        body_seconds: float,
        only_tls: bool,
        seen: Seen,
    ) -> None:
        self._app = app
        self._is_remote = not is_loopback(host)
        self._names = names
        self._allowed = allowed
        self._body_seconds = body_seconds
        self._headers = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
        self._headers += [_TRANSPORT] * only_tls
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def start(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": self._with_headers(message["headers"])}
            await send(message)

        try:
            refused = self._why_refused(scope)
            if refused is not None:
                await problem(HTTPStatus.FORBIDDEN, refused)(scope, receive, start)
                return
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # no database takes it
                words = "The address holds a character that text may not hold."
                await problem(HTTPStatus.UNPROCESSABLE_ENTITY, words)(scope, receive, start)
                return
            await self._app(scope, _in_time(receive, self._body_seconds), start)
        finally:
            route = scope.get("route")
            path = str(getattr(route, "path", "other"))
            self._seen(scope["method"], path, status, time.perf_counter() - began)

    def _why_refused(self, scope: Scope) -> str | None:
        """Why the request is not answered; None if it is."""
        given = Headers(scope=scope)
        if len(given.getlist("host")) > 1 or len(given.getlist("origin")) > 1:
            return "A request has one Host and one Origin."
        host = given.get("host", "")
        asked = host_part(host).lower().rstrip(".") if _HOST.fullmatch(host) else ""
        if asked not in self._names and not (self._is_remote and as_address(asked) is not None):
            known = [*sorted(self._names), *(["plain addresses"] if self._is_remote else [])]
            advice = f" If {asked} is meant to be this machine, start it with --allow-host {asked}." if asked else ""
            return f"The service answers to {enumerate_names(known, 'and')} only.{advice}"
        headers = {name: given[name] for name in _LOOKED_AT if name in given}
        if is_foreign(scope["method"], headers, self._allowed):
            return "This was asked for by a page of another site, which may neither read nor change anything here."
        return None

    def _with_headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers of an answer with ours, where it does not have the same itself."""
        lowered = [(name.lower(), value) for name, value in given]
        kept = [each for each in lowered if each[0] != _SERVER[0] and not each[0].startswith(b"access-control-")]
        names = {name for name, _ in kept}
        return [*kept, *(each for each in self._headers if each[0] not in names), _SERVER]


def _in_time(receive: Receive, seconds: float) -> Receive:
    """The same, but the body must be there within this many seconds after it is first asked for."""
    deadline: float | None = None
    is_whole = False

    async def received() -> Message:
        nonlocal deadline, is_whole
        if is_whole:  # what comes now is the client's leaving
            return await receive()
        now = asyncio.get_running_loop().time()
        deadline = now + seconds if deadline is None else deadline
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            words = f"The request did not arrive within {seconds:g} s."
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, words, {"Connection": "close"}) from error
        is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return received
