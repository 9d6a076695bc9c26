"""A provider of accounts, the service with log-in by it, and a browser that nobody knows."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import audit
from cifar_tune.service.tables import EVENTS
from cifar_tune.web.oidc_settings import OidcSettings
from tests.web.conftest import AppOf, ClientOf

from .provider import CLIENT_ID, SECRET, Provider, provider

ADDRESS = "http://127.0.0.1"
ROLES = ("editor=lab", "admin=chiefs")


@pytest.fixture(autouse=True)
def every_refusal_has_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them come here in a minute than are written one by one otherwise."""
    monkeypatch.setattr(audit, "MOST_REFUSALS", 1000)


@pytest.fixture(scope="package")
def running() -> Iterator[Provider]:
    with provider() as made:
        yield made


@pytest.fixture
def idp(running: Provider) -> Iterator[Provider]:
    yield running
    running.reset()


@pytest.fixture(scope="package")
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
