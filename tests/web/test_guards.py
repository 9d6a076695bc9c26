"""Who gets in, and what every answer carries."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor, create_token
from cifar_tune.web.door import source_of
from cifar_tune.web.failures import Failures
from cifar_tune.web.sessions import MOST_EACH, open_session, pass_of_session
from cifar_tune.web.settings import Limits, TrustedProxy, WebSettings, check_settings

from .conftest import OURS, AppOf, ClientOf, Template, study_text


def outcome(client: TestClient, headers: Mapping[str, str], method: str = "GET", path: str = "/v1/me") -> int:
    return client.request(method, path, headers=dict(headers)).status_code


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("LOCALHOST.", 200),
        ("evil.example", 403),
        ("10.0.0.1", 403),
        ("127.0.0.1:80/api/studies/1?", 403),
        ("127.0.0.1:evil", 403),
        ("127.0.0.1@evil.example", 403),
        ("", 403),
    ],
)
def test_the_service_answers_to_its_own_names_alone(viewer: TestClient, host: str, status: int) -> None:
    answer = viewer.get("/v1/me", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "127.0.0.1" in answer.json()["detail"]


def test_other_names_are_those_that_the_administrator_gave(app_of: AppOf, client_of: ClientOf) -> None:
    named = client_of("viewer", app_of(allow_hosts=("tune.example.org",)))
    assert outcome(named, {"Host": "tune.example.org"}) == 200
    assert outcome(named, {"Host": "other.example.org"}) == 403
    remote = client_of("viewer", app_of(host="0.0.0.0", allow_plain=True))  # noqa: S104
    assert outcome(remote, {"Host": "10.0.0.1:8000"}) == 200
    assert outcome(remote, {"Host": "evil.example"}) == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),  # another program of this machine
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
    ],
)
def test_pages_of_other_sites_ask_in_vain(viewer: TestClient, headers: dict[str, str], status: int) -> None:
    assert outcome(viewer, headers) == status


def test_every_answer_is_kept_to_this_site(viewer: TestClient, nobody: TestClient) -> None:
    for answer in (viewer.get("/v1/me"), nobody.get("/v1/me"), viewer.get("/nowhere"), nobody.get("/healthz")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert not any(name.startswith("access-control-") for name in answer.headers)
        assert "strict-transport-security" not in answer.headers


def log_in(client: TestClient, token: str, headers: Mapping[str, str] = OURS) -> Any:
    return client.post("/login", data={"token": token}, headers=dict(headers))


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


def test_whoever_guesses_has_to_wait(app_of: AppOf, client_of: ClientOf, template: Template) -> None:
    app = app_of(limits=Limits(failures=3, failure_seconds=3600))
    guesser = client_of(None, app)
    wrong = {"Authorization": "Bearer ct_wrong"}
    assert [outcome(guesser, wrong) for _ in range(4)] == [401, 401, 401, 429]
    answer = guesser.get("/v1/me", headers={"Authorization": f"Bearer {template.tokens['admin']}"})
    assert answer.status_code == 429
    assert f"try again in {answer.headers['retry-after']} s" in answer.json()["detail"]
    assert 3000 < int(answer.headers["retry-after"]) <= 3600
    elsewhere = TestClient(app, "http://127.0.0.1", client=("10.1.2.3", 50_000))
    assert outcome(elsewhere, {"Authorization": f"Bearer {template.tokens['admin']}"}) == 200


def test_whoever_guesses_locks_out_nobody_who_was_right_before(
    app_of: AppOf, client_of: ClientOf, template: Template
) -> None:
    client = client_of(None, app_of(limits=Limits(failures=3, failure_seconds=3600)))
    assert log_in(client, template.tokens["editor"]).status_code == 303
    session = dict(client.cookies)
    client.cookies.clear()

    def shown(token: str) -> int:
        return outcome(client, {"Authorization": f"Bearer {token}"})

    assert shown(template.tokens["admin"]) == 200
    assert [shown("ct_wrong"), shown("ct_wrong"), shown(template.tokens["admin"]), shown("ct_wrong")] == [
        401,
        401,
        200,
        401,
    ]
    assert shown("ct_wrong") == 429
    assert shown(template.tokens["admin"]) == 200
    assert shown(template.tokens["viewer"]) == 429  # nobody knows it here
    client.cookies.update(session)
    assert outcome(client, {}) == 200


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),  # one network of IPv6 has as many addresses as anybody wants
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_whose_limits_hold_for_an_address(one: str, other: str, is_same: bool) -> None:
    assert (source_of(one) == source_of(other)) == is_same


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


def test_failures_are_forgotten_one_by_one() -> None:
    now = [0.0]
    failures = Failures(2, 10.0, lambda: now[0])
    failures.add("a")
    now[0] = 4.0
    failures.add("a")
    assert (failures.wait("a"), failures.wait("b")) == (6.0, 0.0)
    now[0] = 10.0
    assert failures.wait("a") == 0.0
    now[0] = 14.0
    assert failures.wait("a") == 0.0


@pytest.mark.parametrize("scheme", ["Basic YTpi", "Bearer", "bearer ct_", "Digest x"])
def test_other_ways_to_say_who_one_is(nobody: TestClient, scheme: str) -> None:
    answer = nobody.get("/v1/me", headers={"Authorization": scheme})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_large_body_is_refused(editor: TestClient) -> None:
    answer = editor.post("/v1/studies", content=b"x" * 400_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    pieces = (b"x" * 100_000 for _ in range(5))  # without a length that says so at once
    answer = editor.post("/v1/studies", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_never_ends_is_given_up(app_of: AppOf, template: Template) -> None:
    app = app_of(limits=Limits(body_seconds=0.05))
    sent: list[dict[str, Any]] = []

    async def ask() -> None:
        first = True

        async def receive() -> dict[str, Any]:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": b"{", "more_body": True}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {template.tokens['editor']}".encode()),
        ]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/studies", "raw_path": b"/v1/studies", "query_string": b"", "headers": headers,
            "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 408


PROXY = TrustedProxy(("10.9.0.0/16",), "X-User", "X-Role")


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


def test_a_page_at_another_port_of_an_allowed_name_is_another_site(app_of: AppOf, client_of: ClientOf) -> None:
    client = client_of("viewer", app_of(allow_hosts=("tune.example.org",)))
    assert outcome(client, {"Host": "tune.example.org:8000", "Origin": "http://tune.example.org:8000"}) == 200
    assert outcome(client, {"Host": "127.0.0.1:8000", "Origin": "https://tune.example.org"}) == 200  # a proxy
    assert outcome(client, {"Host": "tune.example.org:8000", "Origin": "http://tune.example.org:9999"}) == 403
    assert outcome(client, {"Host": "127.0.0.1:8000", "Origin": "https://tune.example.org:9999"}) == 403


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0"}, "--host = '0.0.0.0': can be reached by other machines, and without TLS"),  # noqa: S104
        ({"port": 70_000}, "--port = 70000: must be a whole number from 0 to 65535"),
        ({"allow_hosts": ("http://x",)}, "must be a host name such as"),
        ({"proxy": TrustedProxy(("nowhere",))}, "must be an address or a network"),
        ({"data_folder": "absent"}, "--data-folder"),
        ({"certificate": "absent"}, "need each other"),
    ],
)
def test_settings_that_let_strangers_in_or_cannot_work(changes: dict[str, Any], words: str) -> None:
    paths = {name: Path(value) for name, value in changes.items() if name in ("data_folder", "certificate")}
    with pytest.raises(UserError) as raised:
        check_settings(replace(WebSettings(), **changes | paths))
    assert words in str(raised.value)


@pytest.mark.parametrize("changes", [{"allow_plain": True}, {"proxy": PROXY}])
def test_other_addresses_where_that_is_said_plainly(changes: dict[str, Any]) -> None:
    check_settings(replace(WebSettings(host="0.0.0.0"), **changes))  # noqa: S104
