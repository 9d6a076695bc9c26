"""What a server answers: as objects, or as the errors that it tells of."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import httpx2
from pydantic import TypeAdapter, ValidationError

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.service.problem_types import error_of
from cifar_tune.service.refusals import AwayError
from cifar_tune.visible import visible

_AWAY = (
    HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT,
)  # fmt: skip
NOT_OURS = "is it the address of a `cifar-tune serve`, and does a proxy before it let tokens through?"

Answer = TypeVar("Answer")


class Told(dict[str, Any]):
    """An object that a server has told of. Whoever misses a key in it is told so in a sentence."""

    def __missing__(self, key: str) -> Any:
        """There is no such key.

        Raises:
            CheckError: always.
        """
        raise CheckError(f"the server's answer cannot be read ({key} is missing); is it another version?")


def parsed(text: bytes | str, server: str) -> Told:
    """The object that a text is.

    Raises:
        CheckError: it is none: somebody else has answered.
    """
    try:
        found = json.loads(text, object_hook=Told)
    except ValueError as error:
        raise CheckError(f"{server} answers with something else than JSON: {NOT_OURS}") from error
    if not isinstance(found, Told):
        raise CheckError(f"{server} answers with something else than an object: {NOT_OURS}")
    return found


def refuse(answer: httpx2.Response) -> None:
    """Raise what a problem tells of.

    Raises:
        CifarTuneError: always.
    """
    status = answer.status_code
    told = _problem(answer)
    asked = answer.request.url
    detail = str(told.get("detail") or f"{asked.scheme}://{asked.netloc.decode()} answers with status {status}")
    known = error_of(str(told.get("type")), detail)
    if known is not None:
        raise known
    if status == HTTPStatus.UNAUTHORIZED:
        raise UserError(Problem(detail, "token"))
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise UserError(_problems(told) or detail)
    if answer.is_redirect:
        where = visible(answer.headers.get("location", "nowhere"))
        raise CheckError(f"{detail}, and sends this on to {where}: {NOT_OURS}")
    if status in _AWAY:
        raise AwayError(detail)
    if "detail" not in told:
        raise CheckError(f"{detail} and says no more: {NOT_OURS}")
    raise CheckError(detail)


def _problem(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        told = answer.json()
    except ValueError:  # a proxy's own page
        return {}
    return told if isinstance(told, dict) else {}


def _problems(told: Mapping[str, Any]) -> list[Problem]:
    return [
        Problem(
            str(each.get("rule")),
            each.get("key"),
            each.get("value"),
            each.get("source"),
            each.get("line"),
            each.get("nearest"),
            tuple(each.get("more") or ()),
        )
        for each in told.get("problems") or ()
    ]


def made_of(kind: type[Answer], plain: Any) -> Answer:
    """What the server has answered; keys of a later version are left out.

    Raises:
        CheckError: the answer is of another kind.
    """
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckError(
            f"the server's answer cannot be read ({place}: {first['msg']}); is it another version?"
        ) from error
