"""Log-in with an account of an identity provider: each one is ended by the browser that began it, once and in time."""

import logging
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.web.oidc_settings import OidcSettings
from cifar_tune.web.settings import WebSettings
from tests.web.conftest import OURS, ClientOf

from .conftest import at_provider, events, log_in, me, refusals
from .provider import SECRET, Provider


def test_somebody_logs_in_and_out(browser: TestClient, idp: Provider, storage: BatchStorage) -> None:
    idp.claims = {"sub": "in-and-out", "email": "io@example.org"}
    page = browser.get("/login?next_page=/slots").text
    assert 'href="/login/oidc?next_page=%2Fslots">Log in with the lab&#39;s accounts<' in page
    assert 'name="token"' in page
    answer = log_in(browser, "/slots")
    assert (answer.status_code, answer.headers["location"]) == (303, "/slots")
    assert me(browser) == {"name": "io@example.org", "role": "editor"}
    assert browser.get("/slots").status_code == 200
    taken, entered = events(storage)[-2:]
    assert (taken["actor"], taken["action"], taken["outcome"]) == ("io@example.org", "account.take", "done")
    assert (entered["actor"], entered["action"], entered["outcome"]) == ("io@example.org", "log.in", "done")
    assert entered["detail"] == {"issuer": idp.issuer, "subject": "in-and-out", "role": "editor"}
    session = browser.cookies["cifar_tune_session"]
    assert browser.post("/logout", headers=OURS).status_code == 303
    assert me(browser) == 401
    browser.cookies.set("cifar_tune_session", session)
    assert me(browser) == 401, "the session has ended here too"
    assert events(storage)[-1]["action"] == "log.out"


def test_what_is_sent_to_the_provider(browser: TestClient, idp: Provider, oidc: OidcSettings) -> None:
    answer = browser.get("/login/oidc", headers={"Host": "localhost", "X-Forwarded-Host": "evil.example.org"})
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["redirect_uri"] == [oidc.callback] == ["http://127.0.0.1/login/oidc/callback"]
    assert asked["scope"] == ["openid email profile"]
    assert min(len(asked[key][0]) for key in ("state", "nonce", "code_challenge")) >= 43
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    kept = browser.cookies["cifar_tune_log_in"]
    assert not any(asked[key][0] in kept for key in ("state", "nonce"))
    again = parse_qs(urlsplit(browser.get("/login/oidc").headers["location"]).query)
    assert all(again[key] != asked[key] for key in ("state", "nonce", "code_challenge"))


def test_only_the_browser_that_began_can_end_it(browser: TestClient, app: FastAPI, client_of: ClientOf) -> None:
    back = at_provider(browser)
    stranger = client_of(None, app)
    answer = stranger.get(back)
    assert answer.status_code == 400
    assert "has not begun a log-in here" in answer.text
    assert me(stranger) == 401
    at_provider(stranger)  # now it has a cookie, of another log-in
    answer = stranger.get(back)
    assert answer.status_code == 400
    assert "another log-in than the one" in answer.text
    assert me(stranger) == 401
    assert browser.get(back).status_code == 303


def test_a_made_up_cookie_is_none(browser: TestClient) -> None:
    back = at_provider(browser)
    for made_up in ("nonsense", Fernet(Fernet.generate_key()).encrypt(b"{}").decode()):
        browser.cookies.clear()
        browser.cookies.set("cifar_tune_log_in", made_up)
        assert browser.get(back).status_code == 400
    browser.cookies.clear()
    assert browser.get(back, headers=[(b"Cookie", b"cifar_tune_log_in=\xfc")]).status_code == 400
    assert me(browser) == 401


def test_a_log_in_ends_in_time(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    back = at_provider(browser)
    kept = {"Cookie": f"cifar_tune_log_in={browser.cookies['cifar_tune_log_in']}"}
    browser.cookies.clear()  # it forgets after ten minutes, whoever has copied the cookie may not
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: now + 602)
        assert browser.get(back, headers=kept).status_code == 400
        later.setattr(time, "time", lambda: now + 598)
        assert browser.get(back, headers=kept).status_code == 303


@pytest.mark.parametrize("state", ["", "wrong", "ü\udcff"])
def test_a_wrong_state_is_refused(browser: TestClient, state: str, storage: BatchStorage) -> None:
    code = parse_qs(urlsplit(at_provider(browser)).query)["code"][0]
    query = urlencode({"code": code, "state": state}, errors="surrogatepass")
    before = refusals(storage, "the end of another log-in")
    assert browser.get(f"/login/oidc/callback?{query}").status_code == 400
    assert me(browser) == 401
    assert refusals(storage, "the end of another log-in") == before + 1


def test_a_code_is_good_for_one_time(browser: TestClient, idp: Provider, app: FastAPI, client_of: ClientOf) -> None:
    back = at_provider(browser)
    kept = browser.cookies["cifar_tune_log_in"]
    assert browser.get(back).status_code == 303
    assert "cifar_tune_log_in" not in browser.cookies
    thief = client_of(None, app)
    thief.cookies.set("cifar_tune_log_in", kept)
    answer = thief.get(back)
    assert answer.status_code == 403
    assert "does not take the code of this log-in (invalid_grant)" in answer.text
    assert me(thief) == 401
    assert 'cifar_tune_log_in=""' in answer.headers["set-cookie"]


def test_a_code_of_another_browser_is_refused(browser: TestClient, app: FastAPI, client_of: ClientOf) -> None:
    """The provider sees by PKCE that the code was made for somebody else."""
    code = parse_qs(urlsplit(at_provider(browser)).query)["code"][0]
    thief = client_of(None, app)
    state = parse_qs(urlsplit(at_provider(thief)).query)["state"][0]
    answer = thief.get("/login/oidc/callback", params={"code": code, "state": state})
    assert "invalid_grant" in answer.text
    assert me(thief) == 401


def test_an_answer_of_another_issuer_is_refused(browser: TestClient, idp: Provider) -> None:
    back = at_provider(browser)
    assert browser.get(f"{back}&iss=https://evil.example.org").status_code == 403
    assert idp.asked == []
    assert browser.get(f"{at_provider(browser)}&{urlencode({'iss': idp.issuer})}").status_code == 303


def test_a_log_in_that_is_broken_off_is_said(browser: TestClient, idp: Provider) -> None:
    idp.error = "access_denied"
    answer = log_in(browser)
    assert answer.status_code == 403
    assert "has let nobody in" in answer.text
    assert "why" not in answer.text, "anybody may have written that"


@pytest.mark.parametrize(
    "page",
    [
        f"/{'x' * 1000}",
        "//evil.example.org",
        "https://evil.example.org",
        "/\\evil.example.org",
        "/\t/evil.example.org",
        "evil",
    ],
)
def test_nobody_is_led_elsewhere(browser: TestClient, page: str) -> None:
    assert log_in(browser, page).headers["location"] == "/"


def test_a_link_of_another_site_begins_no_log_in(browser: TestClient) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    answer = browser.get("/login/oidc", headers=followed)
    assert answer.status_code == 200
    assert "cifar_tune_log_in" not in browser.cookies
    back = at_provider(browser)
    assert browser.get(back, headers=followed).status_code == 303, "so does the provider send people back"


def test_secrets_appear_nowhere(
    browser: TestClient, idp: Provider, storage: BatchStorage, caplog: pytest.LogCaptureFixture, oidc: OidcSettings
) -> None:
    caplog.set_level(logging.DEBUG)
    idp.claims = {"aud": "another"}
    back = at_provider(browser)
    answer = browser.get(back)
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(back).query)["state"][0]
    told = [str(events(storage)[-1]), repr(oidc), repr(WebSettings(oidc=oidc)), answer.text]
    told += [record.getMessage() for record in caplog.records if record.name.startswith(("cifar_tune", "authlib"))]
    assert not [each for each in told if any(secret in each for secret in (SECRET, code, state, "eyJ"))]


def test_refusals_of_one_address_do_not_fill_the_database(browser: TestClient, storage: BatchStorage) -> None:
    at_provider(browser)
    before = len(events(storage))
    of_before = refusals(storage, "has not begun a log-in here")
    for number in range(40):
        assert browser.get(f"/login/oidc/callback?code=x{number}&state=y").status_code == 400
    assert len(events(storage)) <= before + 2
    assert refusals(storage, "has not begun a log-in here") <= of_before + 10, "the database is left in peace"
