"""What a proxy says of people, addresses and TLS is taken from a trusted one alone."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from cifar_tune.web.settings import Limits

from .asking import PROXY, log_in
from .conftest import OURS, AppOf, Template, study_text


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        ("10.9.1.2", ["1.1.1.1"], "1.1.1.1"),
        ("10.9.1.2", ["1.1.1.1", "2.2.2.2"], "2.2.2.2"),  # the first is what the client itself has sent
        ("10.9.1.2", ["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
        ("10.9.1.2", ["1.1.1.1, 2.2.2.2, 10.9.1.3"], "2.2.2.2"),  # two proxies one after the other
        ("::ffff:10.9.1.2", ["1.1.1.1"], "1.1.1.1"),
        ("10.9.1.2", ["x" * 1000], "10.9.1.2"),
        ("10.9.1.2", [], "10.9.1.2"),
        ("3.3.3.3", ["1.1.1.1"], "3.3.3.3"),
        ("127.0.0.1", ["1.1.1.1"], "1.1.1.1"),  # a proxy on this machine
        ("::1", ["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
        ("127.0.0.1", [], "127.0.0.1"),
    ],
)
def test_where_a_request_comes_from(app_of: AppOf, client: str, forwarded: list[str], address: str) -> None:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    request = HTTPConnection({"type": "http", "headers": headers, "client": (client, 1)})
    assert app_of(proxy=PROXY).state.here.door.address_of(request) == address


def through(app: FastAPI, address: str, **headers: str | bytes) -> Any:
    client = TestClient(app, "http://127.0.0.1", client=(address, 50_000))
    return client.get(
        "/v1/me",
        headers=[
            (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in headers.items()
        ],
    )


def test_a_trusted_proxy_says_who_somebody_is_and_nobody_else_can(app_of: AppOf) -> None:
    app = app_of(proxy=PROXY)
    assert through(app, "10.9.1.2", X_User="ada", X_Role="editor").json() == {"name": "ada", "role": "editor"}
    assert through(app, "10.9.1.2", X_User="ada").json() == {"name": "ada", "role": "viewer"}
    assert through(app, "10.9.1.2").status_code == 401
    assert through(app, "10.8.1.2", X_User="ada", X_Role="admin").status_code == 401
    assert through(app, "10.9.1.2", X_User="ada", X_Role="emperor").status_code == 401
    assert through(app_of(), "10.9.1.2", X_User="ada", X_Role="admin").status_code == 401


def test_two_words_of_a_proxy_are_none(app_of: AppOf) -> None:
    client = TestClient(app_of(proxy=PROXY), "http://127.0.0.1", client=("10.9.1.2", 1))
    headers = [("X-User", "ada"), ("X-Role", "viewer"), ("X-Role", "admin")]
    assert client.get("/v1/me", headers=headers).status_code == 401


def test_a_proxy_may_send_credentials_of_its_own(app_of: AppOf, template: Template) -> None:
    app = app_of(proxy=PROXY)
    for own in ("Basic YTpi", "Bearer eyJhbGciOi.an-id-token"):
        assert through(app, "10.9.1.2", X_User="ada", Authorization=own).json()["name"] == "ada"
        assert through(app, "10.9.1.2", Authorization=own).status_code == 401
    token = f"Bearer {template.tokens['admin']}"  # of a program, which the proxy lets through
    assert through(app, "10.9.1.2", X_User="ada", Authorization=token).json()["name"] == "root"


def test_names_of_people_are_what_the_proxy_means(app_of: AppOf) -> None:
    assert through(app_of(proxy=PROXY), "10.9.1.2", X_User="zoë".encode()).json()["name"] == "zoë"


def test_changes_through_a_proxy_come_from_our_pages(app_of: AppOf) -> None:
    client = TestClient(app_of(proxy=PROXY), "http://127.0.0.1", client=("10.9.1.2", 1))
    who = {"X-User": "ada", "X-Role": "editor"}
    assert client.post("/v1/studies", json={"text": study_text("hers")}, headers=who).status_code == 403
    assert client.post("/v1/studies", json={"text": study_text("hers")}, headers=who | OURS).status_code == 201


def test_a_browser_behind_a_proxy_with_tls_keeps_its_cookie_to_tls(app_of: AppOf, template: Template) -> None:
    client = TestClient(app_of(proxy=PROXY), "http://127.0.0.1", client=("10.9.1.2", 1), follow_redirects=False)
    answer = log_in(client, template.tokens["viewer"], OURS | {"X-Forwarded-Proto": "https"})
    assert re.match(r"__Host-cifar_tune_session=\S+; HttpOnly;.* Path=/;.*; Secure$", answer.headers["set-cookie"])


def test_a_proxy_on_this_machine_says_of_tls_and_addresses_and_never_who_somebody_is(
    app_of: AppOf, template: Template
) -> None:
    passed_on = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.7.7.7"}
    for address, is_secure in (("127.0.0.1", True), ("::1", True), ("10.9.1.2", False)):
        client = TestClient(app_of(), "http://127.0.0.1", client=(address, 1), follow_redirects=False)
        answer = log_in(client, template.tokens["viewer"], OURS | passed_on)
        assert ("; Secure" in answer.headers["set-cookie"]) == is_secure, address
        named = {"X-Forwarded-User": "root", "X-User": "root", "X-Role": "admin"}
        client.cookies.clear()
        assert client.get("/v1/me", headers=passed_on | named).status_code == 401
    client = TestClient(app_of(), "http://127.0.0.1", client=("127.0.0.1", 1))
    for _ in range(Limits().failures + 1):
        last = client.get("/v1/me", headers={"Authorization": "Bearer ct_wrong", "X-Forwarded-For": "10.7.7.8"})
    assert last.status_code == 429
    other = {"Authorization": f"Bearer {template.tokens['viewer']}", "X-Forwarded-For": "10.7.7.9"}
    assert client.get("/v1/me", headers=other).status_code == 200
