"""The provider is asked as it wants; where it is down, slow or another one, tokens open the door all the same."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.web.oidc_settings import OidcSettings
from cifar_tune.web.settings import Limits
from tests.waiting import PATIENCE
from tests.web.conftest import OURS, AppOf, ClientOf, Template
from tests.web.serving import serving

from .conftest import ADDRESS, at_provider, events, log_in, me
from .provider import Provider, provider


def test_a_provider_that_is_down_leaves_tokens(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, template: Template, storage: BatchStorage
) -> None:
    app = app_of(oidc=oidc)  # it has not asked the provider yet
    browser = TestClient(app, ADDRESS, follow_redirects=False)
    idp.status = 502
    answer = browser.get("/login/oidc")
    assert answer.status_code == 503
    assert "the lab&#39;s accounts does not answer as it should (status 502)" in answer.text
    assert "log in with a token" in answer.text
    last = events(storage)[-1]
    assert (last["action"], last["outcome"]) == ("log.in", "failed")
    idp.status = None
    back = at_provider(browser)
    idp.status = 500
    assert browser.get(back).status_code == 503
    assert me(browser) == 401
    assert browser.post("/login", data={"token": template.tokens["viewer"]}, headers=OURS).status_code == 303
    assert me(browser) == {"name": "vera", "role": "viewer"}


def test_a_provider_that_is_gone_leaves_tokens(app_of: AppOf, oidc: OidcSettings) -> None:
    with provider() as gone:
        issuer = gone.issuer
    browser = TestClient(app_of(oidc=replace(oidc, issuer=issuer)), ADDRESS, follow_redirects=False)
    answer = browser.get("/login/oidc")
    assert answer.status_code == 503
    assert "(ConnectError)" in answer.text
    assert 'name="token"' in answer.text


def test_a_provider_that_never_answers_is_given_up(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its whole answer has to come in time, and not each part of it."""
    browser = TestClient(app_of(oidc=oidc), ADDRESS, follow_redirects=False)
    monkeypatch.setattr("cifar_tune.web.oidc._SECONDS", 0.0)
    answer = browser.get("/login/oidc")
    assert answer.status_code == 503
    assert "(TimeoutError)" in answer.text


METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"issuer": "https://evil.example.org"}, "calls itself https://evil.example.org"),
    "no issuer": ({"issuer": None}, "calls itself None"),
    "a page of another kind": ({"authorization_endpoint": "javascript:alert(1)"}, "for authorization_endpoint"),
    "no keys": ({"jwks_uri": None}, "for jwks_uri"),
}


@pytest.mark.parametrize("which", METADATA)
def test_a_provider_that_is_another_one_is_not_asked(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, which: str
) -> None:
    browser = TestClient(app_of(oidc=oidc), ADDRESS, follow_redirects=False)
    idp.metadata, words = METADATA[which]
    answer = browser.get("/login/oidc")
    assert answer.status_code == 503
    assert words in answer.text


def test_the_provider_is_left_in_peace_by_who_was_refused_too_often(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, client_of: ClientOf
) -> None:
    app = app_of(oidc=oidc, limits=Limits(failures=3, failure_seconds=3600))
    guesser, other = client_of(None, app), client_of(None, app)
    kept = at_provider(guesser)
    state = parse_qs(urlsplit(kept).query)["state"][0]
    cookie = {"Cookie": f"cifar_tune_log_in={guesser.cookies['cifar_tune_log_in']}"}
    guesser.cookies.clear()
    found = [
        guesser.get(f"/login/oidc/callback?code=made-up-{number}&state={state}", headers=cookie) for number in range(6)
    ]
    assert [each.status_code for each in found] == [403, 403, 403, 429, 429, 429]
    assert len(idp.asked) == 3
    assert 0 < int(found[-1].headers["retry-after"]) <= 3600
    assert guesser.get("/login/oidc").status_code == 429
    assert log_in(other).status_code == 303, "others have not guessed"


def test_the_secret_goes_where_the_provider_wants_it(app_of: AppOf, oidc: OidcSettings, idp: Provider) -> None:
    for methods, by in ((None, "basic"), (["client_secret_post"], "post"), (["client_secret_basic"], "basic")):
        idp.metadata = {"token_endpoint_auth_methods_supported": methods}
        browser = TestClient(app_of(oidc=oidc), ADDRESS, follow_redirects=False)
        assert log_in(browser).status_code == 303
        assert idp.asked[-1]["by"] == by


def test_a_wrong_secret_is_said(app_of: AppOf, oidc: OidcSettings) -> None:
    browser = TestClient(app_of(oidc=replace(oidc, secret="wrong")), ADDRESS, follow_redirects=False)  # noqa: S106
    assert "(invalid_client)" in log_in(browser).text


def test_the_server_answers_others_while_it_waits_for_the_provider(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.web.oidc._SECONDS", PATIENCE)
    monkeypatch.setattr("cifar_tune.web.oidc._SECONDS_EACH", PATIENCE)
    idp.claims = {"sub": "network", "email": "network@example.org"}
    idp.held = Event()
    with (
        serving(app_of(oidc=oidc)) as address,
        httpx2.Client(base_url=address, timeout=PATIENCE) as browser,
        ThreadPoolExecutor(1) as other,
    ):
        asked = other.submit(browser.get, "/login/oidc")
        assert idp.waiting.wait(PATIENCE)
        assert httpx2.get(f"{address}healthz", timeout=PATIENCE).status_code == 200
        assert not asked.done()
        idp.held.set()
        with httpx2.Client() as elsewhere:
            back = urlsplit(elsewhere.get(asked.result().headers["location"]).headers["location"])
        assert browser.get(f"{back.path}?{back.query}").status_code == 303
        assert browser.get("/v1/me").json()["name"] == "network@example.org"
