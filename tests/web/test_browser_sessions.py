"""Sessions of browsers: how they begin, what they allow, and how they end."""

import pytest
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor, create_token
from cifar_tune.web.sessions import MOST_EACH, open_session, pass_of_session

from .asking import log_in, outcome
from .conftest import OURS, ClientOf, Template, study_text


def test_a_browser_logs_in_with_a_token_and_out(nobody: TestClient, template: Template) -> None:
    assert outcome(nobody, {}) == 401
    answer = log_in(nobody, template.tokens["editor"])
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # this browser has come without TLS
    assert template.tokens["editor"] not in cookie
    assert nobody.get("/v1/me").json() == {"name": "anna", "role": "editor"}
    kept = nobody.cookies["cifar_tune_session"]
    assert nobody.post("/logout", headers=OURS).status_code == 303
    assert outcome(nobody, {}) == 401
    nobody.cookies.set("cifar_tune_session", kept)  # whoever has copied it
    assert outcome(nobody, {}) == 401


def test_the_session_that_a_browser_had_ends_with_an_event(
    client_of: ClientOf, admin: TestClient, template: Template
) -> None:
    browser = client_of(None)
    log_in(browser, template.tokens["editor"])
    kept = browser.cookies["cifar_tune_session"]
    newest = admin.get("/v1/events").json()["last"]
    assert log_in(browser, template.tokens["viewer"]).status_code == 303
    found = admin.get(f"/v1/events?after={newest}").json()["events"]
    assert [(each["actor"], each["action"]) for each in found] == [("anna", "log.out"), ("vera", "log.in")]
    assert found[0]["detail"] == {"why": "vera has logged in with this browser"}
    browser.cookies.clear()
    browser.cookies.set("cifar_tune_session", kept)
    assert outcome(browser, {}) == 401


def test_the_event_of_a_session_says_how_many_older_ones_it_ends(
    client_of: ClientOf, admin: TestClient, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.web.sessions.MOST_EACH", 1)
    for _ in range(2):
        log_in(client_of(None), template.tokens["other editor"])
    newest = admin.get("/v1/events").json()["events"][-1]
    assert (newest["actor"], newest["action"], newest["detail"]) == ("olaf", "log.in", {"ended_sessions": 1})


def test_a_session_ends_with_its_token(nobody: TestClient, admin: TestClient, template: Template) -> None:
    log_in(nobody, template.tokens["leaver"])
    assert outcome(nobody, {}) == 200
    number = next(each["id"] for each in admin.get("/v1/tokens").json()["tokens"] if each["owner"] == "lena")
    assert admin.delete(f"/v1/tokens/{number}").status_code == 200
    assert outcome(nobody, {}) == 401


def test_a_change_through_a_cookie_says_which_page_wants_it(nobody: TestClient, template: Template) -> None:
    log_in(nobody, template.tokens["editor"])
    new = {"text": study_text("through-a-cookie")}
    assert nobody.post("/v1/studies", json=new).status_code == 403
    assert nobody.post("/v1/studies", json=new, headers={"Origin": "http://evil.example"}).status_code == 403
    assert nobody.post("/v1/studies", json=new, headers=OURS).status_code == 201


def test_nobody_is_logged_in_by_another_site(nobody: TestClient, template: Template) -> None:
    assert log_in(nobody, template.tokens["viewer"], {}).status_code == 403
    assert log_in(nobody, template.tokens["viewer"], {"Origin": "http://evil.example"}).status_code == 403


def test_of_many_sessions_of_a_token_the_oldest_ends(storage: BatchStorage) -> None:
    engine = storage.engine
    with engine.begin() as connection:
        tokens = [create_token(connection, "root", name, "viewer")[0] for name in ("many", "other")]
    many, other = (Actor(token.owner, token.role, token.id) for token in tokens)
    kept = open_session(engine, other, 3600.0)
    secrets = [open_session(engine, many, 3600.0) for _ in range(MOST_EACH + 2)]
    found = [pass_of_session(engine, secret) is not None for secret in secrets]
    assert found == [False] * 2 + [True] * MOST_EACH
    assert pass_of_session(engine, kept) is not None


def test_a_browser_that_logs_in_anew_has_one_session(nobody: TestClient, template: Template) -> None:
    log_in(nobody, template.tokens["editor"])
    before = nobody.cookies["cifar_tune_session"]
    log_in(nobody, template.tokens["viewer"])
    assert nobody.get("/v1/me").json()["name"] == "vera"
    nobody.cookies.set("cifar_tune_session", before, domain="127.0.0.1", path="/")
    assert outcome(nobody, {}) == 401
