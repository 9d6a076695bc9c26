"""Who asks: by the token in a header, by the session of a browser, or by the word of a trusted proxy."""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from math import ceil

from sqlalchemy import Engine
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from cifar_tune.dashboard.host_names import host_part
from cifar_tune.errors import UserError
from cifar_tune.service.people import TOKEN_PREFIX, Actor, Pass, digest, pass_of, person_name, role_of
from cifar_tune.web.failures import Failures, KnownTokens
from cifar_tune.web.guards import READING
from cifar_tune.web.passes import Passes
from cifar_tune.web.sessions import end_session, open_session, pass_of_session
from cifar_tune.web.settings import WebSettings
from cifar_tune.web.uses import Uses

COOKIE = "cifar_tune_session"
_TLS_PREFIX = "__Host-"
"""Before the names of cookies where browsers come with TLS: no other host and no plain page can set such a one."""

VISITOR = "cifar_tune.visitor"
"""Where a request says who was found to ask: an `Actor`, or the `HTTPException` that says why nobody."""

_SITE = 64
"""Bits of an address of IPv6 that say whose network it is. Whoever has one address there has all of the others."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="cifar-tune"'}


class _NotRememberedError(Exception):
    """Only the database can tell who this is."""


class Door:
    """Lets people in.

    Attributes:
        uses: of tokens.

    Args:
        engine: of the database that knows tokens and sessions.
        settings: of the service.
    """

    def __init__(self, engine: Engine, settings: WebSettings) -> None:
        self._engine = engine
        self._settings = settings
        limits = settings.limits
        self._failures = Failures(limits.failures, limits.failure_seconds)
        self._known = KnownTokens()
        self._passes = Passes()
        self.uses = Uses(engine)
        self._proxies = () if settings.proxy is None else settings.proxy.networks()

    def remembered(self, request: HTTPConnection, newest: int) -> Actor | None:
        """Who asks, of those who were let in before and since the event of this number; None of all others.

        Does not read the database, and never blocks.
        """
        try:
            return self._actor_of(request, newest, is_remembered=True)
        except (HTTPException, _NotRememberedError):
            return None

    def actor_of(self, request: HTTPConnection, newest: int | None = None) -> Actor | None:
        """Who asks; None if the request does not say. Reads the database, so that it blocks.

        Args:
            request: that asks.
            newest: the number of the newest event, if that was looked up for this request. Somebody who was let in
                since that event is let in again without a look at their token: no token is revoked, and nobody logs
                out, without an event.

        Raises:
            HTTPException: what it says is wrong, or was wrong too often; or a browser asks for a change and does not
                say which page wants it.
        """
        return self._actor_of(request, newest, is_remembered=False)

    def _actor_of(self, request: HTTPConnection, newest: int | None, is_remembered: bool) -> Actor | None:
        found = request.scope.get(VISITOR)
        if isinstance(found, HTTPException):
            raise found
        if isinstance(found, Actor):
            return found
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        is_token = scheme.lower() == "bearer" and secret.startswith(TOKEN_PREFIX)
        # proxies pass on credentials of their own in the same header
        actor = None if is_token else self._named_by_proxy(request)
        if actor is None and scheme:
            if scheme.lower() != "bearer":
                raise HTTPException(HTTPStatus.UNAUTHORIZED, "Send Authorization: Bearer and a token.", _CHALLENGE)
            return self._actor_with(request, secret, newest, is_remembered)
        cookie = self.cookie(request, COOKIE)
        if actor is None and cookie is not None:
            opened = self._opened(cookie, newest, partial(pass_of_session, self._engine, cookie), is_remembered)
            actor = None if opened is None else opened.actor
        if actor is not None:
            require_own_page(request)
        return actor

    def actor_with(self, request: HTTPConnection, secret: str, newest: int | None = None) -> Actor:
        """Who has this token; `newest` as in `actor_of`.

        Raises:
            HTTPException: nobody, or there were too many wrong ones from this address.
        """
        return self._actor_with(request, secret, newest, is_remembered=False)

    def _actor_with(self, request: HTTPConnection, secret: str, newest: int | None, is_remembered: bool) -> Actor:
        source = source_of(self.address_of(request))
        known = (source, digest(secret))
        wait = self._failures.wait(source)
        if wait > 0 and not self._known.has(known):
            seconds = ceil(wait)
            words = f"There were too many wrong tokens from this address; try again in {seconds} s."
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, words, {"Retry-After": str(seconds)})
        found = self._opened(secret, newest, partial(pass_of, self._engine, secret), is_remembered)
        if found is None:
            self._failures.add(source)
            words = "The token is not known here, was revoked, or has expired."
            raise HTTPException(HTTPStatus.UNAUTHORIZED, words, _CHALLENGE)
        self._known.add(known)
        if found.actor.token is not None:
            self.uses.note(found.actor.token)
        return found.actor

    def _opened(
        self, secret: str, newest: int | None, look: Callable[[], Pass | None], is_remembered: bool
    ) -> Pass | None:
        """What a secret opens.

        Raises:
            _NotRememberedError: only what is remembered was wanted, and this is not.
        """
        if not is_remembered:
            return self._passes.get(secret, newest, look)
        found = None if newest is None else self._passes.known(secret, newest)
        if found is None:
            raise _NotRememberedError
        return found

    def require(self, request: HTTPConnection, newest: int | None = None) -> Actor:
        """Who asks; `newest` as in `actor_of`.

        Raises:
            HTTPException: nobody that is known here; or as in `actor_of`.
        """
        actor = self.actor_of(request, newest)
        if actor is None:
            words = "Say who you are: send a token (Authorization: Bearer ct_...), or log in."
            raise HTTPException(HTTPStatus.UNAUTHORIZED, words, _CHALLENGE)
        return actor

    def address_of(self, request: HTTPConnection) -> str:
        """Where the request comes from: whom a proxy in between names. From all others, the header says nothing."""
        address = request.client.host if request.client else ""
        named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        while self._is_in_between(address) and named:
            nearest = address_in(named.pop())
            if nearest is None:
                break
            address = str(nearest)
        return address

    def log_in(self, request: Request, secret: str, response: Response) -> Actor:
        """Open a session for whoever has this token, and put its secret into a cookie of the response.

        Raises:
            HTTPException: as in `actor_with`; or another page asks for it.
        """
        require_own_page(request)
        actor = self.actor_with(request, secret)
        self.open(request, actor, response, {})
        return actor

    def open(self, request: Request, actor: Actor, response: Response, told: Mapping[str, object]) -> None:
        """Open a session for somebody who has shown who they are, and put its secret into a cookie of the response.

        Args:
            request: that asks for it.
            actor: who has; `token` is the token that the session hangs on.
            response: for the browser.
            told: more about the log-in, for its event.
        """
        seconds = self._settings.session_seconds
        secret = open_session(self._engine, actor, seconds, self.cookie(request, COOKIE), told)
        self.set_cookie(request, response, COOKIE, secret, round(seconds))

    def log_out(self, request: Request, response: Response) -> None:
        """End the browser's session, if it has one."""
        actor = self.actor_of(request)
        cookie = self.cookie(request, COOKIE)
        if actor is not None and cookie is not None:
            end_session(self._engine, cookie, actor)
        self.set_cookie(request, response, COOKIE, "", 0)

    def is_secure(self, request: HTTPConnection) -> bool:
        """Whether the browser has come with TLS: to us, to a proxy before us, or to a public address that has it."""
        oidc = self._settings.oidc
        asked = host_part(request.headers.get("host", "")).lower()
        if self._settings.has_tls or (oidc is not None and oidc.address.startswith("https://") and asked == oidc.host):
            return True
        address = request.client.host if request.client else ""
        return self._is_in_between(address) and request.headers.get("x-forwarded-proto", "").lower() == "https"

    def cookie(self, request: HTTPConnection, name: str) -> str | None:
        """What the browser sends in a cookie of ours; None if it has none."""
        return request.cookies.get(self._full_name(request, name))

    def set_cookie(self, request: HTTPConnection, response: Response, name: str, value: str, seconds: int) -> None:
        """Let the browser keep a cookie that no script sees and no other site sends; 0 seconds: forget it."""
        response.set_cookie(
            self._full_name(request, name),
            value,
            max_age=seconds,
            expires=seconds if seconds == 0 else None,
            httponly=True,
            samesite="lax",
            secure=self.is_secure(request),
            path="/",
        )

    def _full_name(self, request: HTTPConnection, name: str) -> str:
        return f"{_TLS_PREFIX}{name}" if self.is_secure(request) else name

    def _is_in_between(self, address: str) -> bool:
        """Whether an address is that of a proxy: a trusted one, or one on this machine.

        One on this machine is believed where a browser comes from, and whether it came with TLS. Another user of the
        machine could say so too. That marks their own cookie. It also lets them guess tokens without a limit, which
        leads nowhere (`service.people`), or use up the limit of an address, from where nobody can log in for a minute
        then. Who somebody is, only a trusted proxy may say.
        """
        found = address_in(address)
        return found is not None and (found.is_loopback or self._is_proxy(address))

    def _is_proxy(self, address: str) -> bool:
        found = address_in(address)
        return found is not None and any(found in network for network in self._proxies)

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
            name = given[0].encode("latin-1").decode("utf-8", "replace")  # headers are bytes
            return Actor(person_name(name, proxy.user_header), role_of(roles[0] if roles else proxy.role))
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


def address_in(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is; None if it is none. One of IPv4 in the form of IPv6 is one of IPv4."""
    try:
        found = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def source_of(text: str) -> str:
    """Whose limits hold for an address: those of the address itself, or of its network where it is one of IPv6."""
    found = address_in(text)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), _SITE), strict=False))
    return text if found is None else str(found)
