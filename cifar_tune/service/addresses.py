"""Addresses that are told how a study goes: webhooks, and all that Apprise knows (mail, Slack, Telegram, ...).

An address may hold a secret, so no message and no event repeats one: `shown` is what may be said of it.
"""

import hmac
import json
import logging
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from importlib.util import find_spec
from typing import IO, Any
from urllib.parse import urlsplit

from cifar_tune.errors import Problem

SECRET_VARIABLE = "CIFAR_TUNE_WEBHOOK_SECRET"  # noqa: S105 (the name of a variable)
SIGNATURE = "X-Cifar-Tune-Signature"
TIMESTAMP = "X-Cifar-Tune-Timestamp"
EVENT = "X-Cifar-Tune-Event"

_WEB = ("http", "https")
_SECONDS = 10.0
_MOST = 20
_LONGEST = 2000
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
    if len(addresses) > _MOST:
        return [Problem(f"takes {_MOST} addresses at most", "notify")]
    found = []
    for number, address in enumerate(addresses, 1):
        rule = _rule(address)
        if rule is not None:
            found.append(Problem(f"address {number} {rule}", "notify"))
    return found


def shown(address: str) -> str:
    """What may be said of an address: its kind, and of a webhook its host."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme in _WEB else f"{parts.scheme}://***"


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
    if urlsplit(address).scheme in _WEB:
        _post(address, message, secret, now)
    else:
        _by_apprise(address, message)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header of a webhook says: HMAC-SHA256 over the timestamp, a dot and the body."""
    return "sha256=" + hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def _rule(address: str) -> str | None:
    """The rule that an address breaks."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "is no URL, such as https://example.org/hook"
    if len(address) > _LONGEST or not address.isprintable() or " " in address:
        return f"must be {_LONGEST} visible characters at most, without spaces"
    if not parts.scheme or "://" not in address:
        return "is no URL, such as https://example.org/hook"
    if parts.scheme in _WEB:
        return None if host else "names no host, as in https://example.org/hook"
    if find_spec("apprise") is None:
        return f"is none of a webhook (http, https); for {parts.scheme}:// install Apprise: {_INSTALL}"
    from apprise import Apprise  # noqa: PLC0415 (an extra, slow to import)

    return None if Apprise.instantiate(address) is not None else "is none that Apprise knows"


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
    request = urllib.request.Request(address, body, headers, method="POST")  # noqa: S310 (`_rule` lets http and https in)
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
        from apprise import Apprise  # noqa: PLC0415 (an extra, slow to import)
    except ImportError as error:
        raise NotToldError(f"Apprise is not installed where the server runs: {_INSTALL}") from error
    logging.getLogger("apprise").disabled = True  # its lines may hold the address
    told = Apprise()
    try:
        is_told = told.add(address) and told.notify(body=message.text, title=message.title)
    except Exception as error:
        raise NotToldError(f"Apprise failed: {type(error).__name__}") from error
    if not is_told:
        raise NotToldError("Apprise could not deliver it")
