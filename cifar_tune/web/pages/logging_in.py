"""The page on which a browser shows a token, and the way out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from cifar_tune.web.here import Here, HereNow
from cifar_tune.web.pages.rendering import page

router = APIRouter(include_in_schema=False)

HOME = "/"


@router.get("/login")
def login(request: Request, here: HereNow, next_page: str = HOME) -> Response:
    """Ask for a token."""
    return login_page(request, here, next_page)


@router.post("/login")
def log_in(
    request: Request,
    here: HereNow,
    token: Annotated[str, Form(max_length=10_000)] = "",
    next_page: Annotated[str, Form(max_length=2000)] = HOME,
) -> Response:
    """Open a session; with a wrong token, ask again."""
    answer = RedirectResponse(own(next_page), HTTPStatus.SEE_OTHER)
    try:
        here.door.log_in(request, token.strip(), answer)
    except HTTPException as error:
        if error.status_code == HTTPStatus.FORBIDDEN:
            raise
        shown = login_page(request, here, next_page, str(error.detail), error.status_code)
        shown.headers.update({name: each for name, each in (error.headers or {}).items() if name == "Retry-After"})
        return shown
    return answer


@router.post("/logout")
def log_out(request: Request, here: HereNow) -> Response:
    """End the session."""
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    here.door.log_out(request, answer)
    return answer


def login_page(
    request: Request, here: Here, next_page: str, trouble: str = "", status: int = HTTPStatus.OK.value
) -> Response:
    """The page that asks for a token.

    Args:
        request: that is answered.
        here: the server.
        next_page: where whoever logs in goes on.
        trouble: what went wrong; empty for nothing.
        status: of the answer.
    """
    provider = None if here.settings.oidc is None else here.settings.oidc.shown
    made = page(request, None, "login.html", next_page=own(next_page), trouble=trouble, provider=provider)
    made.status_code = status
    return made


def own(path: str) -> str:
    """The page to go on with: one of ours, whatever a link to the log-in page says."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_own else HOME
