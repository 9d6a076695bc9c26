"""A small identity provider (OpenID Connect) on a port of its own, which does as a test wants."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.concurrency import run_in_threadpool

from tests.waiting import PATIENCE
from tests.web.serving import serving

CLIENT_ID = "cifar-tune"
SECRET = "the-secret-of-the-client"  # noqa: S105 (of tests alone)
KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"}, private=True)
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"}, private=True)
"""It says that it is the first one, and is not."""


@dataclass
class Provider:
    """What the provider does, and what it was asked.

    Attributes:
        issuer: its address.
        claims: of the person who logs in, in place of the usual ones; None: without it.
        signer: signs ID tokens.
        algorithm: by which it signs them.
        keys: that it gives out.
        metadata: in place of what it usually says of itself.
        held: keeps all requests waiting until it is set; None: nothing does.
        waiting: is set as soon as a request waits.
        status: with which all requests are answered; None: as usual.
        error: of a log-in that it refuses.
        codes: that were given out and not yet used, with what belongs to each.
        asked: what came to the token endpoint.
    """

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    signer: RSAKey | OctKey = field(default_factory=lambda: KEY)
    algorithm: str = "RS256"
    keys: Any = field(default_factory=lambda: [{"kty": "NEW", "kid": "unknown"}, KEY.as_dict(private=False)])
    metadata: dict[str, Any] = field(default_factory=dict)
    held: Event | None = None
    waiting: Event = field(default_factory=Event)
    status: int | None = None
    error: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def reset(self) -> None:
        """Do as usual again."""
        self.__init__(self.issuer)  # type: ignore[misc]

    def id_token(self, nonce: str) -> str:
        """What it says of the person."""
        now = int(time.time())
        usual = {
            "iss": self.issuer, "sub": "1234", "aud": CLIENT_ID, "exp": now + 300, "iat": now, "nonce": nonce,
            "email": "ada@example.org", "email_verified": True, "preferred_username": "ada", "groups": ["lab"],
        }  # fmt: skip
        claims = {name: each for name, each in {**usual, **self.claims}.items() if each is not None}
        header = {"alg": self.algorithm, "kid": "first"}
        if self.algorithm == "none":
            return ".".join([_part(header), _part(claims), ""])
        registry = jws.JWSRegistry(algorithms=[self.algorithm])
        return jwt.encode(header, claims, self.signer, registry=registry)


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@contextmanager
def provider() -> Iterator[Provider]:
    """One that runs inside the block."""
    made = Provider()
    with serving(_app(made)) as address:
        made.issuer = address.rstrip("/")
        yield made


def _app(made: Provider) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def as_told(request: Request, go_on: Any) -> Response:
        if made.held is not None:
            made.waiting.set()
            await run_in_threadpool(made.held.wait, PATIENCE)
        if made.status is not None:
            return Response("<h1>Out of order</h1>", made.status)
        answer: Response = await go_on(request)
        return answer

    @app.get("/.well-known/openid-configuration")
    def metadata() -> dict[str, Any]:
        usual = {
            "issuer": made.issuer,
            "authorization_endpoint": f"{made.issuer}/authorize",
            "token_endpoint": f"{made.issuer}/token",
            "jwks_uri": f"{made.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        return {**usual, **made.metadata}

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": made.keys}

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        made.codes[code] = asked
        answer = {"error": made.error, "error_description": "<b>why</b>"} if made.error else {"code": code}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**answer, 'state': asked['state']})}", 303)

    @app.post("/token")
    def token(
        request: Request,
        code: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
        client_secret: Annotated[str, Form()] = "",
    ) -> Response:
        by_header = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
        is_known = request.headers.get("authorization") == f"Basic {by_header}" or client_secret == SECRET
        made.asked.append({"code": code, "by": "post" if client_secret else "basic"})
        asked = made.codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
        if not is_known:
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != redirect_uri:
            return JSONResponse({"error": "invalid_grant", "error_description": f"{code} {SECRET}"}, 400)
        answer = {"access_token": "at", "token_type": "Bearer", "id_token": made.id_token(asked["nonce"])}
        return JSONResponse(answer)

    return app
