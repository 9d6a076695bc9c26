"""Log-in with an account of an identity provider: to the provider, and back."""

from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from cifar_tune.service.audit import note_refusal
from cifar_tune.service.identities import Account, NameOfAnotherError, admit
from cifar_tune.web.door import source_of
from cifar_tune.web.here import Here, HereNow
from cifar_tune.web.oidc_settings import CALLBACK, MINUTES, LogInError
from cifar_tune.web.pages.logging_in import HOME, login_page, own

if TYPE_CHECKING:
    from cifar_tune.web.oidc import Provider
router = APIRouter(include_in_schema=False)

COOKIE = "cifar_tune_log_in"
"""What a browser remembers while it is at the provider."""

_LONGEST = 4000
_LONGEST_PAGE = 1000
"""Bytes: browsers keep no cookie of more than 4096."""


@router.get("/login/oidc")
async def begin(request: Request, here: HereNow, next_page: str = HOME) -> Response:
    """Send the browser to the provider. A link of another site leads to the log-in page: people log in on purpose."""
    provider = _provider(here)
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return login_page(request, here, next_page)
    try:
        provider.require_patience(source_of(here.door.address_of(request)))
        address, kept = await provider.begin(own(next_page) if len(next_page.encode()) <= _LONGEST_PAGE else HOME)
    except LogInError as error:
        return await run_in_threadpool(_refused, request, here, provider, error)
    answer = RedirectResponse(address, HTTPStatus.SEE_OTHER)
    here.door.set_cookie(request, answer, COOKIE, kept, MINUTES * 60)
    return answer


@router.get(CALLBACK)
async def finish(
    request: Request,
    here: HereNow,
    code: Annotated[str, Query(max_length=_LONGEST)] = "",
    state: Annotated[str, Query(max_length=_LONGEST)] = "",
    iss: Annotated[str | None, Query(max_length=_LONGEST)] = None,
) -> Response:
    """Open a session for whoever comes back from the provider."""
    provider = _provider(here)
    account = None
    try:
        begun = provider.begun(here.door.cookie(request, COOKIE), state)
        if not code:  # the provider says why not in `error`, in words that anybody may have written
            words = f"{provider.settings.shown} has let nobody in: the log-in was broken off, or refused there."
            raise LogInError(words)
        provider.require_patience(source_of(here.door.address_of(request)))
        account = await provider.account(begun, code, iss)
        answer: Response = RedirectResponse(begun.next_page, HTTPStatus.SEE_OTHER)
        await run_in_threadpool(_let_in, request, here, account, answer)
    except NameOfAnotherError as error:
        refused = LogInError(f"You cannot come in: {error}.")
        answer = await run_in_threadpool(_refused, request, here, provider, refused, account)
    except LogInError as error:
        answer = await run_in_threadpool(_refused, request, here, provider, error)
    here.door.set_cookie(request, answer, COOKIE, "", 0)
    return answer


def _provider(here: Here) -> "Provider":
    if here.provider is None:
        words = "This server takes no log-ins with OpenID Connect; log in with a token."
        raise HTTPException(HTTPStatus.NOT_FOUND, words)
    return here.provider


def _let_in(request: Request, here: Here, account: Account, answer: Response) -> None:
    """Open a session. Blocks.

    Raises:
        NameOfAnotherError: somebody else has the name.
    """
    actor = admit(here.engine, account, here.settings.session_seconds, here.door.actor_of(request))
    told = {"issuer": account.issuer, "subject": account.subject, "role": account.role}
    here.door.open(request, actor, answer, told)


def _refused(
    request: Request, here: Here, provider: "Provider", error: LogInError, account: Account | None = None
) -> Response:
    """Write an event of a log-in that was refused, and ask for a token. Blocks.

    Events of one address end after some of them, until a minute is over: whoever has not logged in must not keep the
    database busy.
    """
    source = source_of(here.door.address_of(request))
    wait = provider.failures.wait(source)
    if wait == 0:
        provider.failures.add(source)
        detail: dict[str, object] = {"why": str(error)}
        if account is not None:
            detail |= {"issuer": account.issuer, "subject": account.subject}
        is_refused = error.status != HTTPStatus.SERVICE_UNAVAILABLE
        with here.engine.begin() as connection:
            note_refusal(connection, "server", "log.in", None, "refused" if is_refused else "failed", detail)
    shown = login_page(request, here, HOME, str(error), error.status.value)
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        shown.headers["Retry-After"] = str(ceil(wait))
    return shown
