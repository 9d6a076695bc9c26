"""What the provider says of a person counts where all of it is right."""

from typing import Any

import pytest
from joserfc.jwk import OctKey
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage

from .conftest import log_in, me, refusals
from .provider import CLIENT_ID, OTHER_KEY, SECRET, Provider

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another log-in": ({"claims": {"nonce": "another"}}, "claim nonce"),
    "no nonce": ({"claims": {"nonce": None}}, "claim nonce"),
    "another audience": ({"claims": {"aud": "another"}}, "claim aud"),
    "another audience for us": ({"claims": {"aud": ["another"], "azp": CLIENT_ID}}, "claim aud"),
    "no audience": ({"claims": {"aud": None}}, "claim aud"),
    "ours and handed to another": ({"claims": {"aud": [CLIENT_ID, "another"], "azp": "another"}}, "claim azp"),
    "another issuer": ({"claims": {"iss": "https://evil.example.org"}}, "claim iss"),
    "no issuer": ({"claims": {"iss": None}}, "claim iss"),
    "expired": ({"claims": {"exp": 1_700_000_000}}, "it has expired"),
    "no end": ({"claims": {"exp": None}}, "claim exp"),
    "from the future": ({"claims": {"iat": 4_000_000_000}}, "claim iat"),
    "no subject": ({"claims": {"sub": None}}, "claim sub"),
    "an empty subject": ({"claims": {"sub": ""}}, "does not say which account"),
    "another subject": ({"claims": {"sub": 7}}, "claim sub"),
    "another access token": ({"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}, "claim at_hash"),
    "another signer": ({"signer": OTHER_KEY}, "its signature is wrong"),
    "no signature": ({"algorithm": "none"}, "unsupported_algorithm"),
    "the client's secret": ({"algorithm": "HS256", "signer": OctKey.import_key(SECRET)}, "unsupported_algorithm"),
    "an address that nobody has verified": ({"claims": {"email_verified": False}}, "has not verified"),
    "an address of which nothing is said": ({"claims": {"email_verified": None}}, "has not verified"),
    "no address": ({"claims": {"email": None}}, "no usable name"),
    "a name that nobody sees": ({"claims": {"email": "a\u200bb@example.org"}}, "no usable name"),
    "an address that is no text": ({"claims": {"email": ["ada@example.org"]}}, "no usable name"),
    "no group": ({"claims": {"groups": None}}, "in no group"),
    "other groups": ({"claims": {"groups": ["gym"]}}, "in no group"),
    "groups that are no list": ({"claims": {"groups": {"lab": True}}}, "in no group"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_not_right_is_refused(browser: TestClient, idp: Provider, storage: BatchStorage, which: str) -> None:
    changes, words = WRONG[which]
    for name, value in changes.items():
        setattr(idp, name, value)
    before = refusals(storage, words)
    answer = log_in(browser)
    assert answer.status_code == 403, answer.text
    assert words in answer.text
    assert 'name="token"' in answer.text, "a token opens the door all the same"
    assert me(browser) == 401
    assert refusals(storage, words) == before + 1


def test_a_key_of_an_unknown_kind_does_not_stand_in_the_way(browser: TestClient, idp: Provider) -> None:
    idp.keys += [
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA", "kid": "brainpool"},
        {"kty": "RSA", "kid": "torn"},
        "no key",
    ]
    assert log_in(browser).status_code == 303


def test_no_keys_let_nobody_in(browser: TestClient, idp: Provider) -> None:
    wrong: tuple[Any, ...] = ([], {}, None, "keys")
    for keys in wrong:
        idp.keys = keys
        assert log_in(browser).status_code == 403
        assert me(browser) == 401
