"""Addresses that are told how a study goes: webhooks, and all that Apprise knows (mail, Slack, Telegram, ...).

An address may hold a secret, so no message and no event repeats one: `study_spec.notify.shown` is what may be said of
it.
"""

import hmac
import json
import logging
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cifar_tune.errors import Problem
from cifar_tune.study_spec.notify import MOST, SECTION, WEB, rule_of

if TYPE_CHECKING:
    from apprise import Apprise

SECRET_VARIABLE = "CIFAR_TUNE_WEBHOOK_SECRET"  # noqa: S105 (the name of a variable)
SIGNATURE = "X-Cifar-Tune-Signature"
TIMESTAMP = "X-Cifar-Tune-Timestamp"
EVENT = "X-Cifar-Tune-Event"

_SECONDS = 10.0
_INSTALL = "pip install 'cifar-tune[notify]'"


class NotToldError(Exception):
    """An address could not be told; the message is why, without the address."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is told.

    Attributes:
        key: tells it from all others: whoever gets one twice can see that.
        title: a few words.
        text: a sentence.
        detail: the same for programs, as JSON has it.
    """

    key: str
    title: str
    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def problems_of(addresses: Sequence[str]) -> list[Problem]:
    """What is wrong with addresses that somebody gives; the addresses themselves are not repeated."""
    if len(addresses) > MOST:
        return [Problem(f"takes {MOST} addresses at most", SECTION)]
    rules = enumerate(map(_rule, addresses), 1)
    return [Problem(f"address {number} {rule}", SECTION) for number, rule in rules if rule is not None]


def tell(address: str, message: Message, secret: str, now: float) -> None:
    """Tell one address; takes at most some seconds.

    Args:
        address: of a webhook, or one that Apprise knows.
        message: what is told.
        secret: by which webhooks are signed; empty: they are not.
        now: seconds since the epoch.

    Raises:
        NotToldError: it has not been told, as far as is known.
    """
    if urlsplit(address).scheme in WEB:
        _post(address, message, secret, now)
    else:
        _by_apprise(address, message)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header of a webhook says: HMAC-SHA256 over the timestamp, a dot and the body."""
    return "sha256=" + hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def _rule(address: str) -> str | None:
    """The rule that an address breaks."""
    return rule_of(address) or why_not_here(address)


def why_not_here(address: str) -> str | None:
    """Why an address, whose form is in order, cannot be told from this machine; None if it can be."""
    scheme = urlsplit(address).scheme
    if scheme in WEB:
        return None
    if find_spec("apprise") is None:
        return f"is none of a webhook (http, https); for {scheme}:// install Apprise: {_INSTALL}"
    return None if _apprise().instantiate(address) is not None else "is none that Apprise knows"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whoever is told must not send the server elsewhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow nothing: the answer counts as an error."""


def _post(address: str, message: Message, secret: str, now: float) -> None:
    body = json.dumps({"title": message.title, "text": message.text, **message.detail}).encode()
    timestamp = str(int(now))
    headers = {"Content-Type": "application/json", TIMESTAMP: timestamp, EVENT: message.key, "User-Agent": "cifar-tune"}
    if secret:
        headers[SIGNATURE] = signature(secret, timestamp, body)
    request = urllib.request.Request(address, body, headers, method="POST")  # noqa: S310 (`rule_of` lets http and https in)
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_SECONDS) as answer:
            answer.read(1)
    except urllib.request.HTTPError as error:
        raise NotToldError(f"it answers with status {error.code}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise NotToldError(f"it cannot be reached: {reason}") from error


def _by_apprise(address: str, message: Message) -> None:
    try:
        told = _apprise()()
    except ImportError as error:
        raise NotToldError(f"Apprise is not installed where the server runs: {_INSTALL}") from error
    try:
        is_told = told.add(address) and told.notify(body=message.text, title=message.title)
    except Exception as error:
        raise NotToldError(f"Apprise failed: {type(error).__name__}") from error
    if not is_told:
        raise NotToldError("Apprise could not deliver it")


def _apprise() -> "type[Apprise]":
    """Its main class.

    Raises:
        ImportError: it is not installed.
    """
    from apprise import Apprise  # noqa: PLC0415 (an extra, slow to import)

    logging.getLogger("apprise").disabled = True  # its lines may hold the address
    return Apprise
