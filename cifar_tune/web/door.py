"""Who asks: by the token in a header, by the session of a browser, or by the word of a trusted proxy."""

from http import HTTPStatus
from ipaddress import ip_address
from math import ceil

from sqlalchemy import Engine
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from cifar_tune.errors import UserError
from cifar_tune.service.people import Actor, person_name, role_of, who
from cifar_tune.web.failures import Failures
from cifar_tune.web.guards import READING
from cifar_tune.web.sessions import actor_of_session, end_session, open_session
from cifar_tune.web.settings import WebSettings

COOKIE = "cifar_tune_session"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="cifar-tune"'}


class Door:
    """Lets people in.

    Args:
        engine: of the database that knows tokens and sessions.
        settings: of the service.
    """

    def __init__(self, engine: Engine, settings: WebSettings) -> None:
        self._engine = engine
        self._settings = settings
        limits = settings.limits
        self._failures = Failures(limits.failures, limits.failure_seconds)
        self._proxies = () if settings.proxy is None else settings.proxy.networks()

    def actor_of(self, request: HTTPConnection) -> Actor | None:
        """Who asks; None if the request does not say. Reads the database, so that it blocks.

        Raises:
            HTTPException: what it says is wrong, or was wrong too often; or a browser asks for a change and does not
                say which page wants it.
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer":
                raise HTTPException(HTTPStatus.UNAUTHORIZED, "Send Authorization: Bearer and a token.", _CHALLENGE)
            return self.actor_with(request, secret.strip())
        actor = self._named_by_proxy(request)
        if actor is None and COOKIE in request.cookies:
            actor = actor_of_session(self._engine, request.cookies[COOKIE])
        if actor is not None:
            require_own_page(request)
        return actor

    def actor_with(self, request: HTTPConnection, secret: str) -> Actor:
        """Who has this token.

        Raises:
            HTTPException: nobody, or there were too many wrong ones from this address.
        """
        address = self.address_of(request)
        wait = self._failures.wait(address)
        if wait > 0:
            words = "There were too many wrong tokens from this address; wait a little."
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, words, {"Retry-After": str(ceil(wait))})
        actor = who(self._engine, secret)
        if actor is None:
            self._failures.add(address)
            words = "The token is not known here, was revoked, or has expired."
            raise HTTPException(HTTPStatus.UNAUTHORIZED, words, _CHALLENGE)
        self._failures.forget(address)
        return actor

    def require(self, request: HTTPConnection) -> Actor:
        """Who asks.

        Raises:
            HTTPException: nobody that is known here; or as in `actor_of`.
        """
        actor = self.actor_of(request)
        if actor is None:
            words = "Say who you are: send a token (Authorization: Bearer ct_...), or log in."
            raise HTTPException(HTTPStatus.UNAUTHORIZED, words, _CHALLENGE)
        return actor

    def address_of(self, request: HTTPConnection) -> str:
        """Where the request comes from: of a trusted proxy, whom it names."""
        address = request.client.host if request.client else ""
        if self._is_proxy(address):
            return request.headers.get("x-forwarded-for", address).rpartition(",")[2].strip() or address
        return address

    def log_in(self, request: Request, secret: str, response: Response) -> Actor:
        """Open a session for whoever has this token, and put its secret into a cookie of the response.

        Raises:
            HTTPException: as in `actor_with`; or another page asks for it.
        """
        require_own_page(request)
        actor = self.actor_with(request, secret)
        seconds = self._settings.session_hours * 3600
        response.set_cookie(
            COOKIE,
            open_session(self._engine, actor, seconds),
            max_age=round(seconds),
            httponly=True,
            samesite="lax",
            secure=self.is_secure(request),
            path="/",
        )
        return actor

    def log_out(self, request: Request, response: Response) -> None:
        """End the browser's session, if it has one."""
        actor = self.actor_of(request)
        if actor is not None and COOKIE in request.cookies:
            end_session(self._engine, request.cookies[COOKIE], actor)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=self.is_secure(request), path="/")

    def is_secure(self, request: HTTPConnection) -> bool:
        """Whether the browser has come with TLS: to us, or to a trusted proxy."""
        if self._settings.has_tls:
            return True
        address = request.client.host if request.client else ""
        return self._is_proxy(address) and request.headers.get("x-forwarded-proto", "").lower() == "https"

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ip_address(address) in network for network in self._proxies)
        except ValueError:
            return False

    def _named_by_proxy(self, request: HTTPConnection) -> Actor | None:
        """Whom a trusted proxy names.

        Raises:
            HTTPException: the name or the role is none.
        """
        proxy = self._settings.proxy
        if proxy is None or request.client is None or not self._is_proxy(request.client.host):
            return None
        given = request.headers.getlist(proxy.user_header)
        roles = [] if proxy.role_header is None else request.headers.getlist(proxy.role_header)
        if not given:
            return None
        if len(given) > 1 or len(roles) > 1:  # the proxy has passed on what somebody else sent
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "The proxy names more than one person, or more than one role.")
        try:
            return Actor(person_name(given[0], proxy.user_header), role_of(roles[0] if roles else proxy.role))
        except UserError as error:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, f"The proxy's word: {error}") from error


def require_own_page(request: HTTPConnection) -> None:
    """See that a change that a browser asks for comes from one of our pages.

    That it comes from no other site is seen before (`guards`), as far as the browser says so. Here it has to.

    Raises:
        HTTPException: it does not say where it comes from.
    """
    has_said = {"origin", "sec-fetch-site"} & set(request.headers.keys())
    if request.scope.get("method", "GET") not in READING and not has_said:
        words = "A browser says which page asks for a change (Origin or Sec-Fetch-Site), and this request does not."
        raise HTTPException(HTTPStatus.FORBIDDEN, words)
