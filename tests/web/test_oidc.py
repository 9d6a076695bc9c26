"""Log-in with an account of an identity provider, from the log-in page to the session and to its end."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from joserfc.jwk import OctKey
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import audit
from cifar_tune.service.tables import EVENTS, IDENTITIES, TOKENS
from cifar_tune.web.oidc_settings import OidcSettings
from cifar_tune.web.routes import watching
from cifar_tune.web.settings import Limits, TrustedProxy, WebSettings, check_settings
from tests.waiting import PATIENCE

from .conftest import OURS, AppOf, ClientOf, Template, study_text
from .oidc_provider import CLIENT_ID, OTHER_KEY, SECRET, Provider, provider
from .serving import serving

ADDRESS = "http://127.0.0.1"
ROLES = ("editor=lab", "admin=chiefs")


@pytest.fixture(autouse=True)
def every_refusal_has_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them come here in a minute than are written one by one otherwise."""
    monkeypatch.setattr(audit, "MOST_REFUSALS", 1000)


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with provider() as made:
        yield made


@pytest.fixture
def idp(running: Provider) -> Iterator[Provider]:
    yield running
    running.reset()


@pytest.fixture(scope="module")
def oidc(running: Provider) -> OidcSettings:
    return OidcSettings(running.issuer, CLIENT_ID, SECRET, ADDRESS, "the lab's accounts", roles=ROLES)


@pytest.fixture(scope="module")
def app(app_of: AppOf, oidc: OidcSettings) -> FastAPI:
    return app_of(oidc=oidc)


@pytest.fixture
def browser(client_of: ClientOf, app: FastAPI, idp: Provider) -> TestClient:
    """Somebody whom nobody knows; the provider does as usual."""
    return client_of(None, app)


def at_provider(browser: TestClient, next_page: str = "/") -> str:
    """Press the button, and log in at the provider; returns where the provider sends the browser."""
    answer = browser.get("/login/oidc", params={"next_page": next_page})
    assert answer.status_code == 303, answer.text
    with httpx2.Client() as elsewhere:
        return str(elsewhere.get(answer.headers["location"]).headers["location"])


def log_in(browser: TestClient, next_page: str = "/") -> httpx2.Response:
    return browser.get(at_provider(browser, next_page))


def me(browser: TestClient) -> dict[str, str] | int:
    answer = browser.get("/v1/me")
    return dict(answer.json()) if answer.status_code == 200 else answer.status_code


def events(storage: BatchStorage) -> list[Any]:
    with storage.engine.connect() as connection:
        return list(connection.execute(select(EVENTS).order_by(EVENTS.c.id)).mappings())


def refusals(storage: BatchStorage, words: str) -> int:
    """How many log-ins were refused with these words; the same ones of a minute are counted in one event."""
    told = [each for each in events(storage) if words in each["detail"].get("why", "")]
    assert {(each["actor"], each["action"], each["outcome"]) for each in told} <= {("server", "log.in", "refused")}
    return sum(each["detail"].get("times", 1) for each in told)


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


def test_groups_give_roles(browser: TestClient, idp: Provider, app_of: AppOf, oidc: OidcSettings) -> None:
    for groups, role in ((["lab", "chiefs"], "admin"), ("lab", "editor"), (["chiefs", 3], "admin")):
        idp.claims = {"sub": "climber", "email": "climber@example.org", "groups": groups}
        log_in(browser)
        assert me(browser) == {"name": "climber@example.org", "role": role}
    open_app = app_of(oidc=replace(oidc, role="viewer"))
    guest = TestClient(open_app, ADDRESS, follow_redirects=False)
    idp.claims = {"sub": "guest", "email": "guest@example.org", "groups": []}
    log_in(guest)
    assert me(guest) == {"name": "guest@example.org", "role": "viewer"}
    assert guest.post("/v1/studies", json={"text": study_text("of-a-guest")}, headers=OURS).status_code == 403


def test_an_account_keeps_its_studies_and_its_name(
    browser: TestClient, app: FastAPI, client_of: ClientOf, idp: Provider
) -> None:
    idp.claims = {"sub": "keeper", "email": "keeper@example.org"}
    log_in(browser)
    assert browser.post("/v1/studies", json={"text": study_text("kept")}, headers=OURS).status_code == 201
    idp.claims = {"sub": "keeper", "email": "renamed@example.org", "groups": ["lab"]}
    other_browser = client_of(None, app)
    log_in(other_browser)
    assert me(other_browser) == me(browser) == {"name": "keeper@example.org", "role": "editor"}
    assert other_browser.post("/v1/studies/kept/pause", headers=OURS).status_code == 200
    idp.claims = {"sub": "late-comer", "email": "keeper@example.org"}  # the name was given to somebody else there
    late = client_of(None, app)
    answer = log_in(late)
    assert answer.status_code == 403
    assert "the name keeper@example.org belongs to another account here" in answer.text
    assert me(late) == 401


def test_the_newest_word_on_the_role_counts_everywhere(
    browser: TestClient, app: FastAPI, client_of: ClientOf, idp: Provider
) -> None:
    idp.claims = {"sub": "fallen", "email": "fallen@example.org", "groups": ["chiefs"]}
    log_in(browser)
    assert me(browser) == {"name": "fallen@example.org", "role": "admin"}
    idp.claims["groups"] = ["lab"]
    log_in(client_of(None, app))
    assert me(browser) == {"name": "fallen@example.org", "role": "editor"}


def test_a_new_role_counts_also_where_the_log_in_fails_after_it(
    browser: TestClient,
    app: FastAPI,
    client_of: ClientOf,
    idp: Provider,
    storage: BatchStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    idp.claims = {"sub": "halfway", "email": "halfway@example.org", "groups": ["chiefs"]}
    log_in(browser)
    assert me(browser) == {"name": "halfway@example.org", "role": "admin"}
    idp.claims["groups"] = ["lab"]

    def fails(*_: object) -> str:
        raise OperationalError("INSERT", None, Exception("the disk is full"))

    monkeypatch.setattr("cifar_tune.web.door.open_session", fails)
    assert log_in(client_of(None, app)).status_code == 503
    assert me(browser) == {"name": "halfway@example.org", "role": "editor"}
    last = events(storage)[-1]
    assert (last["action"], last["detail"]) == ("account.role", {"role": "editor", "before": "admin"})


def test_the_name_of_somebody_with_a_token_is_taken(
    browser: TestClient, idp: Provider, template: Template, storage: BatchStorage, app_of: AppOf, oidc: OidcSettings
) -> None:
    app = app_of(oidc=replace(oidc, name_claim="preferred_username"))
    somebody = TestClient(app, ADDRESS, follow_redirects=False)
    idp.claims = {"sub": "olaf-there", "preferred_username": "olaf", "email_verified": False}
    answer = log_in(somebody)
    assert answer.status_code == 403
    assert "there is a person called olaf here already" in answer.text
    assert me(somebody) == 401
    last = events(storage)[-1]
    assert (last["outcome"], last["detail"]["subject"]) == ("refused", "olaf-there")
    for role, claims in (("editor", {}), ("other editor", {"groups": ["chiefs"]})):  # another person; too few rights
        assert somebody.post("/login", data={"token": template.tokens[role]}, headers=OURS).status_code == 303
        idp.claims.update(claims)
        assert log_in(somebody).status_code == 403
    del idp.claims["groups"]
    assert log_in(somebody).status_code == 303
    assert me(somebody) == {"name": "olaf", "role": "editor"}
    stranger = TestClient(app, ADDRESS, follow_redirects=False)
    assert log_in(stranger).status_code == 303
    assert me(stranger) == {"name": "olaf", "role": "editor"}


@pytest.mark.parametrize("name", ["server", "*"])
def test_names_that_mean_something_else_are_refused(
    idp: Provider, app_of: AppOf, oidc: OidcSettings, name: str
) -> None:
    browser = TestClient(app_of(oidc=replace(oidc, name_claim="preferred_username")), ADDRESS, follow_redirects=False)
    idp.claims = {"sub": name, "preferred_username": name}
    assert log_in(browser).status_code == 403
    assert me(browser) == 401


def test_a_session_ends_when_it_is_revoked_and_people_may_come_again(
    browser: TestClient, admin: TestClient, idp: Provider, storage: BatchStorage
) -> None:
    idp.claims = {"sub": "revoked", "email": "revoked@example.org"}
    log_in(browser)
    with storage.engine.connect() as connection:
        query = select(IDENTITIES.c.token).where(IDENTITIES.c.owner == "revoked@example.org")
        number = connection.execute(query).scalar_one()
        token = connection.execute(select(TOKENS).where(TOKENS.c.id == number)).mappings().one()
    assert 0 < token["expires_at"] - time.time() <= 12 * 3600
    assert admin.delete(f"/v1/tokens/{number}").status_code == 200
    assert me(browser) == 401
    log_in(browser)
    assert me(browser) == {"name": "revoked@example.org", "role": "editor"}


def test_a_session_ends_at_its_hour(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(oidc=oidc, session_hours=1.0)
    browser = TestClient(app, ADDRESS, follow_redirects=False)
    idp.claims = {"sub": "hour", "email": "hour@example.org"}
    log_in(browser)
    kept = {"Cookie": f"cifar_tune_session={browser.cookies['cifar_tune_session']}"}
    browser.cookies.clear()
    now = time.time()
    with monkeypatch.context() as later:
        for seconds, status in ((3599, 200), (3602, 401)):
            later.setattr(time, "time", lambda seconds=seconds: now + seconds)
            later.setattr(app.state.here.door._passes, "_clock", time.time)
            assert browser.get("/v1/me", headers=kept).status_code == status


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


def test_whoever_listens_begins_anew_when_their_role_has_changed(
    app_of: AppOf, oidc: OidcSettings, idp: Provider, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told what their role of that time may see."""
    monkeypatch.setattr(watching, "_CHECK_SECONDS", 0.05)
    app = app_of(oidc=oidc)
    idp.claims = {"sub": "listens", "email": "listens@example.org", "groups": ["chiefs"]}
    browser = client_of(None, app)
    log_in(browser)
    cookie = {"Cookie": f"cifar_tune_session={browser.cookies['cifar_tune_session']}"}
    path = "v1/studies/queued/stream"
    with serving(app) as address, httpx2.stream("GET", f"{address}{path}", headers=cookie, timeout=PATIENCE) as answer:
        lines = answer.iter_lines()
        assert any("https://example.org/secret-hook" in line for line in lines)
        idp.claims["groups"] = ["lab"]
        log_in(client_of(None, app))
        for _ in lines:  # until the server ends it
            pass
        with httpx2.stream("GET", f"{address}{path}", headers=cookie, timeout=PATIENCE) as again:
            told = next(line for line in again.iter_lines() if "notify" in line)
    assert "secret-hook" not in told


def test_the_secret_goes_where_the_provider_wants_it(app_of: AppOf, oidc: OidcSettings, idp: Provider) -> None:
    for methods, by in ((None, "basic"), (["client_secret_post"], "post"), (["client_secret_basic"], "basic")):
        idp.metadata = {"token_endpoint_auth_methods_supported": methods}
        browser = TestClient(app_of(oidc=oidc), ADDRESS, follow_redirects=False)
        assert log_in(browser).status_code == 303
        assert idp.asked[-1]["by"] == by


def test_a_wrong_secret_is_said(app_of: AppOf, oidc: OidcSettings) -> None:
    browser = TestClient(app_of(oidc=replace(oidc, secret="wrong")), ADDRESS, follow_redirects=False)  # noqa: S106
    assert "(invalid_client)" in log_in(browser).text


def test_behind_a_proxy_with_tls(app_of: AppOf, oidc: OidcSettings, idp: Provider) -> None:
    """The provider sends people to the public address, whatever host the proxy asks for."""
    public = replace(oidc, address="https://tune.example.org/")
    app = app_of(oidc=public, proxy=TrustedProxy(("10.9.1.2",)))
    browser = TestClient(app, "https://tune.example.org", client=("10.9.1.2", 1), follow_redirects=False)
    browser.headers["X-Forwarded-Proto"] = "https"
    idp.claims = {"sub": "proxied", "email": "proxied@example.org"}
    answer = browser.get("/login/oidc")
    assert answer.headers["set-cookie"].startswith("__Host-cifar_tune_log_in=")
    assert "Secure" in answer.headers["set-cookie"]
    back = at_provider(browser)
    assert back.startswith("https://tune.example.org/login/oidc/callback?")
    answer = browser.get(back)
    assert answer.headers["location"] == "/"
    assert "__Host-cifar_tune_session=" in answer.headers["set-cookie"]
    assert me(browser) == {"name": "proxied@example.org", "role": "editor"}


def test_cookies_of_a_public_address_with_tls_are_kept_to_tls(
    app_of: AppOf, oidc: OidcSettings, template: Template, client_of: ClientOf
) -> None:
    """Also where the proxy with TLS is not trusted with anything, as on a machine that others use."""
    app = app_of(oidc=replace(oidc, address="https://tune.example.org"))
    public = TestClient(app, "https://tune.example.org", follow_redirects=False)
    here = client_of(None, app)
    for browser, name in ((public, "__Host-cifar_tune"), (here, "cifar_tune")):
        origin = {"Origin": str(browser.base_url).rstrip("/")}
        by_token = browser.post("/login", data={"token": template.tokens["viewer"]}, headers=origin)
        by_account = browser.get("/login/oidc")
        for answer, which in ((by_token, "session"), (by_account, "log_in")):
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith(f"{name}_{which}=")
            assert ("Secure" in cookie) == (browser is public)
        assert me(browser) == {"name": "vera", "role": "viewer"}


def test_without_a_provider_there_is_no_such_log_in(client_of: ClientOf, app_of: AppOf) -> None:
    nobody = client_of(None, app_of())
    for path in ("/login/oidc", "/login/oidc/callback?code=x&state=y"):
        assert nobody.get(path).status_code == 404
    assert "oidc" not in nobody.get("/login").text


GOOD = OidcSettings("https://login.example.org", "id", SECRET, "https://tune.example.org", roles=ROLES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://login.example.org"}, "--oidc-issuer = 'http://login.example.org': must begin with https"),
        ({"issuer": "login.example.org"}, "must be an address such as https://login.example.org/realms/lab"),
        ({"issuer": "https://[login"}, "must be an address"),
        ({"issuer": "https://me:pw@login.example.org"}, "must be an address"),
        ({"address": "http://tune.example.org"}, "--public-address = 'http://tune.example.org': must begin with"),
        ({"address": "https://tune.example.org/tune"}, "must end after the host and port"),
        ({"client_id": " "}, "--oidc-client-id: must not be empty"),
        ({"roles": ("editor",)}, "--oidc-role = 'editor': must be a role and a group"),
        ({"roles": ("king=lab",)}, "--oidc-role = 'king': must be viewer, editor or admin"),
        ({"role": "king"}, "--oidc-default-role = 'king'"),
        ({"roles": ()}, "lets nobody in"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], words: str) -> None:
    check_settings(WebSettings(oidc=GOOD))
    with pytest.raises(UserError) as caught:
        check_settings(WebSettings(oidc=replace(GOOD, **changes)))
    assert words in str(caught.value)


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
