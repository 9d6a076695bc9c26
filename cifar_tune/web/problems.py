"""Errors as problem details for HTTP (RFC 9457): the sentences that the command line prints, and their parts."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from optuna.exceptions import StorageInternalError
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from cifar_tune.errors import CheckError, CifarTuneError, DamagedError, Problem, UserError
from cifar_tune.service.problem_types import type_of
from cifar_tune.service.refusals import (
    BusyError,
    ConflictError,
    NameTakenError,
    NotAllowedError,
    QuotaError,
    UnknownStudyError,
)
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.stored_studies import ForeignStudyError
from cifar_tune.visible import visible

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("cifar_tune.web")
_RETRY = {"Retry-After": "5"}
_BUSY_RETRY = {"Retry-After": "60"}


class FoundProblem(BaseModel):
    """One thing that is wrong with what was sent."""

    rule: str = Field(description="The rule that is broken, as a sentence.", examples=["must be a number > 0"])
    key: str | None = Field(None, description="Where: a dotted path.", examples=["search_space.lr.low"])
    value: Any = Field(None, description="What was given.", examples=[-1])
    source: str | None = Field(None, description="The file, or the option, that has it.", examples=["study.yaml"])
    line: int | None = Field(None, description="Its line in the file, from 1.", examples=[7])
    nearest: str | None = Field(None, description="What was most likely meant.", examples=["optimizer"])
    more: list[str] = Field(default_factory=list, description="Further lines of the message.", examples=[[]])


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(
        "about:blank", description="The kind of error.", examples=["about:blank", "urn:cifar-tune:conflict"]
    )
    title: str = Field(description="What kind of error it is.", examples=["Unprocessable Content"])
    status: int = Field(description="The status code.", examples=[422])
    detail: str = Field(
        description="The message for people, one line for each problem.",
        examples=["study.yaml:7: search_space.lr.low = -1: must be a number > 0"],
    )
    problems: list[FoundProblem] = Field(
        default_factory=list, description="All that is wrong, each for itself.", examples=[[]]
    )


_STATUS: Sequence[tuple[type[BaseException], HTTPStatus]] = (
    (NotAllowedError, HTTPStatus.FORBIDDEN),
    (UnknownStudyError, HTTPStatus.NOT_FOUND),
    (NameTakenError, HTTPStatus.CONFLICT),
    (ConflictError, HTTPStatus.CONFLICT),
    (QuotaError, HTTPStatus.CONFLICT),
    (ForeignStudyError, HTTPStatus.CONFLICT),
    (UserError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DatabaseGoneError, HTTPStatus.SERVICE_UNAVAILABLE),
    (BusyError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DamagedError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (CheckError, HTTPStatus.CONFLICT),  # such as a study that a run of somebody holds
    (CifarTuneError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The first that fits counts."""


class ProblemResponse(JSONResponse):
    """The answer to a request that failed."""

    media_type = MEDIA_TYPE


def problem(
    status: HTTPStatus,
    detail: str,
    problems: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
    kind: str = "about:blank",
) -> ProblemResponse:
    """An answer with this status; `detail` is the message for people, `kind` the problem's `type`."""
    content = {
        "type": kind,
        "title": status.phrase,
        "status": status.value,
        "detail": "\n".join(map(visible, detail.split("\n"))),
        "problems": [_described(each) for each in problems],
    }
    return ProblemResponse(content, status.value, dict(headers or {}))


def _described(each: Problem) -> dict[str, Any]:
    return {
        "rule": visible(each.rule),
        "key": None if each.key is None else visible(each.key),
        "value": _plain(each.value),
        "source": None if each.source is None else visible(each.source),
        "line": each.line,
        "nearest": None if each.nearest is None else visible(each.nearest),
        "more": [visible(line) for line in each.more],
    }


def _plain(value: object) -> Any:
    """The value if JSON has it and UTF-8 too, else its text; of a long one, the beginning."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # half of a pair
        return visible(text[:1000])
    except (TypeError, ValueError, RecursionError):
        return visible(_text_of(value)[:200])
    return value if len(text) <= 1000 else text[:1000]


def _text_of(value: object) -> str:
    try:
        return str(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or a list in itself
        return f"a {type(value).__name__}"


Handler = Callable[[Request, Exception], Awaitable[ProblemResponse]]


def add_handlers(app: FastAPI, shown: Callable[[Handler], Callable[[Request, Exception], Awaitable[Response]]]) -> None:
    """Let the app answer every error with a problem, and none with a traceback.

    Args:
        app: the application.
        shown: makes a page of the problem where that is wanted.
    """
    handlers: Mapping[type[Exception], Handler] = {
        CifarTuneError: _of_ours,
        HTTPException: _of_http,
        RequestValidationError: _of_request,
        SQLAlchemyError: _of_database,
        StorageInternalError: _of_database,
        Exception: _unforeseen,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, shown(handler))


async def _of_ours(_request: Request, error: Exception) -> ProblemResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    found = error.problems if isinstance(error, UserError) else ()
    seconds = _BUSY_RETRY if isinstance(error, BusyError) else _RETRY
    headers = seconds if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, str(error), found, headers, type_of(error))


async def _of_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 (Starlette's own types say Exception)
    status = HTTPStatus(error.status_code)
    words = str(error.detail or status.description or status.phrase)
    if words == status.phrase:  # Starlette itself says no more than the title
        words = _more_than(status, request, error.headers or {}) or words
    return problem(status, words, headers=error.headers)


def _more_than(status: HTTPStatus, request: Request, headers: Mapping[str, str]) -> str | None:
    path = request.scope["path"]
    if status == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {path}."
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        able = {name.lower(): value for name, value in headers.items()}.get("allow")
        return f"{request.method} is not for {path}{f'; use {able}' if able else ''}."
    return None


async def _of_request(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (likewise)
    is_json = "json" in request.headers.get("content-type", "").partition(";")[0].lower()
    found = [
        Problem(_in_words(each, is_json), _place(each["loc"]), _short(each.get("input"))) for each in error.errors()
    ]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "\n".join(map(str, found)), found)


_RULES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "model_attributes_type": "must be a JSON object",
    "json_invalid": "is no JSON, at its character {place}: {error}",
    "greater_than_equal": "must be {ge} at least",
    "less_than_equal": "must be {le} at most",
    "string_too_long": "must have {max_length} characters at most",
    "string_too_short": "must have {min_length} characters at least",
    "too_long": "must have {max_length} entries at most",
}
"""What pydantic finds, by its name of the error, in the words of our own messages."""


def _in_words(error: Mapping[str, Any], is_json: bool) -> str:
    rule = _RULES.get(str(error["type"]))
    if error["type"] == "model_attributes_type" and not is_json:  # curl -d sends a form unless one says otherwise
        return f"{rule}, sent with the header `Content-Type: application/json`"
    if error["type"] == "json_invalid" and rule is not None:
        return rule.format(place=error["loc"][-1] + 1, **(error.get("ctx") or {}))
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected']}".replace("'", "")
    if rule is not None:
        return rule.format_map(error.get("ctx") or {})
    words = str(error["msg"])
    return words[:1].lower() + words[1:]


def _place(parts: Sequence[object]) -> str:
    """The key alone: FastAPI says first whether it stands in the body, the path or the query."""
    is_key = len(parts) > 1 and isinstance(parts[1], str)  # else it is a place in a body that is no JSON
    return ".".join(map(str, parts[1:])) if is_key else str(parts[0])


def _short(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) else None


async def _of_database(_request: Request, error: Exception) -> ProblemResponse:
    _LOG.warning("the database failed: %s", type(error).__name__)  # its words may name a password
    words = "The database does not answer, or refuses; try again later."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, words, headers=_RETRY)


async def _unforeseen(request: Request, error: Exception) -> ProblemResponse:
    _LOG.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    words = "An unexpected error, most likely a fault of this program; the server's log says more."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, words)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route says in the OpenAPI document that it may answer with these problems."""
    return {
        HTTPStatus(status).value: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in statuses
    }
