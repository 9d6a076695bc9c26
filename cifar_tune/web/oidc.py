"""Log-in with an account of an identity provider: OpenID Connect, authorization code flow with PKCE.

Authlib makes the requests and checks what an ID token claims; its sister joserfc checks who has signed it. What a
browser must remember until it comes back (state, nonce, PKCE's verifier) is in a cookie that only this process can
read and write.

Sources: OpenID Connect Core 1.0, sections 3.1 and 3.1.3.7; OpenID Connect Discovery 1.0, section 4.3; RFC 7636 (PKCE);
RFC 9207 (the issuer in the answer).
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hmac import compare_digest
from http import HTTPStatus
from math import ceil
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from cryptography.fernet import Fernet, InvalidToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from cifar_tune.errors import UserError
from cifar_tune.service.identities import Account
from cifar_tune.service.people import person_name
from cifar_tune.visible import visible
from cifar_tune.web.failures import Failures
from cifar_tune.web.oidc_settings import EMAIL, MINUTES, LogInError, OidcSettings, is_safe
from cifar_tune.web.settings import Limits

_BYTES = 32
_SECONDS_EACH = 5.0
_SECONDS = 10.0
"""Of all requests of one step together."""

_FRESH_SECONDS = 600.0
_LEEWAY_SECONDS = 60
"""By so much the clocks of the provider and of this machine may differ."""

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Whatever the provider says that it can do: not `none`, and none with a secret that others may have too."""

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LONGEST_SUBJECT = 255
_SCOPES = ("openid", "email", "profile")


@dataclass(frozen=True, slots=True)
class Begun:
    """What a browser remembers until it comes back from the provider."""

    state: str
    nonce: str
    verifier: str
    next_page: str


class Provider:
    """The identity provider.

    Attributes:
        settings: what the administrator has decided.
        failures: log-ins that were refused, by the address that they came from.
    """

    def __init__(self, settings: OidcSettings, limits: Limits) -> None:
        self.settings = settings
        self.failures = Failures(limits.failures, limits.failure_seconds)
        self._tls = httpx2.create_ssl_context()
        self._box = Fernet(Fernet.generate_key())
        self._metadata: Mapping[str, Any] = {}
        self._looked_at = -_FRESH_SECONDS

    async def begin(self, next_page: str) -> tuple[str, str]:
        """The address at the provider where somebody logs in, and the cookie that their browser has to keep.

        Args:
            next_page: where they go on afterwards; a path of ours.

        Raises:
            LogInError: the provider does not answer, or is another one.
        """
        begun = Begun(
            secrets.token_urlsafe(_BYTES), secrets.token_urlsafe(_BYTES), secrets.token_urlsafe(_BYTES), next_page
        )
        async with self._client() as client:
            metadata = await self._asked(self._discovered(client))
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"], state=begun.state, nonce=begun.nonce, code_verifier=begun.verifier
            )
        return str(url), self._box.encrypt(json.dumps(asdict(begun), ensure_ascii=False).encode()).decode()

    def require_patience(self, source: str) -> None:
        """See that the provider is not asked again and again for somebody whom it has refused.

        Args:
            source: the address that somebody comes from.

        Raises:
            LogInError: too many log-ins from there were refused a moment ago.
        """
        wait = self.failures.wait(source)
        if wait > 0:
            words = f"There were too many refused log-ins from this address; try again in {ceil(wait)} s."
            raise LogInError(words, HTTPStatus.TOO_MANY_REQUESTS)

    def begun(self, cookie: str | None, state: str) -> Begun:
        """What the cookie remembers, if the browser comes back from the log-in that it began.

        Raises:
            LogInError: it does not.
        """
        again = f"Log in again, at {self.settings.address}, with one browser and within {MINUTES} minutes."
        try:
            kept = json.loads(self._box.decrypt(cookie or "", ttl=MINUTES * 60))
        except (InvalidToken, ValueError):  # the second one: it is no ASCII
            words = f"This browser has not begun a log-in here, or too long ago. {again}"
            raise LogInError(words, HTTPStatus.BAD_REQUEST) from None
        begun = Begun(**kept)
        if not compare_digest(begun.state.encode(), state.encode("utf-8", "surrogatepass")):
            words = f"This is the end of another log-in than the one that this browser began last. {again}"
            raise LogInError(words, HTTPStatus.BAD_REQUEST)
        return begun

    async def account(self, begun: Begun, code: str, issuer: str | None) -> Account:
        """Who has logged in.

        Args:
            begun: what the browser has remembered.
            code: that the provider has given the browser; it is good for one time.
            issuer: who has given it, if the answer says so.

        Raises:
            LogInError: the provider does not answer, does not take the code, or what it says of the person is not
                signed, not for us, out of date, or not enough.
        """
        if issuer not in (None, self.settings.issuer):
            raise LogInError("The answer comes from another provider than the one that was asked.")
        async with self._client() as client:
            claims = await self._asked(self._claims(client, begun, code))
        return self._account(claims)

    def _client(self) -> AsyncOAuth2Client:
        scopes = dict.fromkeys((*_SCOPES, *self.settings.scopes))
        return AsyncOAuth2Client(
            self.settings.client_id,
            self.settings.secret,
            scope=" ".join(scopes),
            redirect_uri=self.settings.callback,
            code_challenge_method="S256",
            verify=self._tls,
            timeout=_SECONDS_EACH,
            follow_redirects=False,
        )

    async def _asked(self, answer: Any) -> Any:
        """What the provider answers in time.

        Raises:
            LogInError: it does not.
        """
        name = self.settings.shown
        try:
            async with asyncio.timeout(_SECONDS):
                return await answer
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:  # TimeoutError is an OSError
            status = error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else None
            why = type(error).__name__ if status is None else f"status {status}"
            words = f"{name} does not answer as it should ({why}). Try again later, or log in with a token."
            raise LogInError(words, HTTPStatus.SERVICE_UNAVAILABLE) from None  # the request holds secrets

    async def _discovered(self, client: AsyncOAuth2Client) -> Mapping[str, Any]:
        """What the provider says of itself; asked for again after some minutes."""
        if time.monotonic() - self._looked_at >= _FRESH_SECONDS:
            issuer = self.settings.issuer
            found = await _json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                called = visible(str(found.get("issuer")))[:200]
                words = f"The provider at {issuer} calls itself {called}; --oidc-issuer must be what it calls itself."
                raise LogInError(words, HTTPStatus.SERVICE_UNAVAILABLE)
            wrong = [key for key in _ENDPOINTS if not is_safe(str(found.get(key)), issuer)]
            if wrong:
                words = f"{self.settings.shown} gives no address with TLS for {', '.join(wrong)}."
                raise LogInError(words, HTTPStatus.SERVICE_UNAVAILABLE)
            self._metadata, self._looked_at = found, time.monotonic()
        return self._metadata

    async def _claims(self, client: AsyncOAuth2Client, begun: Begun, code: str) -> Mapping[str, Any]:
        metadata = await self._discovered(client)
        ways = metadata.get("token_endpoint_auth_methods_supported")
        if isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways:
            client.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 (the name of a method)
        try:
            answer = await client.fetch_token(
                metadata["token_endpoint"], code=code, code_verifier=begun.verifier, grant_type="authorization_code"
            )
        except AuthlibBaseError as error:  # its description may repeat what was sent
            words = f"{self.settings.shown} does not take the code of this log-in ({_word(error.error)}). Log in again."
            raise LogInError(words) from None
        except ValueError:
            raise httpx2.DecodingError("no JSON object") from None
        found = await _json(client, metadata["jwks_uri"])
        try:
            return self._checked(answer, begun.nonce, found.get("keys"))
        except JoseError as error:
            raise LogInError(f"{self.settings.shown} sent an ID token that is not valid: {_why(error)}.") from None
        except (AttributeError, LookupError, TypeError, ValueError):  # of what is no token or no key at all
            raise LogInError(f"{self.settings.shown} sent something that is no ID token, or no keys.") from None

    def _checked(self, answer: Mapping[str, Any], nonce: str, keys: Any) -> Mapping[str, Any]:
        """The claims of the ID token in an answer.

        Raises:
            JoseError: it is not signed, or not for us, or not for this log-in, or out of date.
        """
        token = jwt.decode(
            answer["id_token"],
            _readable(keys),
            registry=JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False),
        )
        wanted = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},  # Authlib does not look at it by itself
            "nonce": {"essential": True, "value": nonce},
        }
        known = {"client_id": self.settings.client_id, "nonce": nonce, "access_token": answer.get("access_token")}
        claims = CodeIDToken(token.claims, token.header, wanted, known)
        claims.validate(leeway=_LEEWAY_SECONDS)
        return dict(claims)

    def _account(self, claims: Mapping[str, Any]) -> Account:
        """Who is meant, and with which role.

        Raises:
            LogInError: that is not said, or nobody that may come in.
        """
        subject, key = claims["sub"], self.settings.name_claim
        if not 1 <= len(subject) <= _LONGEST_SUBJECT:
            raise LogInError(f"{self.settings.shown} does not say which account this is.")
        given = claims.get(key)
        try:
            name = person_name(given if isinstance(given, str) else "", key)
        except UserError:
            words = f"{self.settings.shown} gives no usable name for this account in the claim {key!r}."
            raise LogInError(words) from None
        if key == EMAIL and claims.get("email_verified") not in (True, "true"):
            words = f"{self.settings.shown} has not verified that the address {name} belongs to this account."
            raise LogInError(words)
        groups = claims.get(self.settings.groups_claim)
        listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        role = self.settings.role_in(each for each in listed if isinstance(each, str))
        if role is None:
            raise LogInError(f"{name} is in no group of {self.settings.shown} that may use this server.")
        return Account(self.settings.issuer, subject, name, role)


def _readable(keys: Any) -> KeySet:
    """The keys among these of a kind that is known here; others are left out (RFC 7517, section 5).

    Raises:
        TypeError: they are no list.
    """
    found: list[Any] = []
    for each in keys:
        with suppress(JoseError, AttributeError, LookupError, TypeError, ValueError):
            found += KeySet.import_key_set({"keys": [each]}).keys
    return KeySet(found)


async def _json(client: AsyncOAuth2Client, url: str) -> Mapping[str, Any]:
    answer = await client.get(url, auth=None)  # without a token
    answer.raise_for_status()
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise httpx2.DecodingError("no JSON object")
    return found


def _why(error: JoseError) -> str:
    if isinstance(error, ExpiredTokenError):
        return "it has expired"
    if isinstance(error, ClaimError):
        return f"its claim {_word(error.claim)} is missing or wrong"
    return "its signature is wrong" if isinstance(error, BadSignatureError) else _word(error.error)


def _word(text: object) -> str:
    """A name of an error, as the standards have them; anything else may hold what nobody should read."""
    found = str(text)
    return found if len(found) <= 60 and found.replace("_", "").replace(",", "").isalnum() and found.isascii() else "?"
