"""Who an account is here: its name, its role and its sessions."""

import time
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.tables import IDENTITIES, TOKENS
from cifar_tune.web.oidc_settings import OidcSettings
from cifar_tune.web.routes import watching
from tests.waiting import PATIENCE
from tests.web.conftest import OURS, AppOf, ClientOf, Template, study_text
from tests.web.serving import serving

from .conftest import ADDRESS, events, log_in, me
from .provider import Provider


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
