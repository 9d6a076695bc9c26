"""Who gets in, and what every answer carries."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cifar_tune.errors import UserError
from cifar_tune.web.door import source_of
from cifar_tune.web.failures import Failures
from cifar_tune.web.settings import Limits, TrustedProxy, WebSettings, check_settings

from .asking import PROXY, log_in, outcome
from .conftest import AppOf, ClientOf, Template


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


def test_a_page_at_another_port_of_an_allowed_name_is_another_site(app_of: AppOf, client_of: ClientOf) -> None:
    client = client_of("viewer", app_of(allow_hosts=("tune.example.org",)))
    assert outcome(client, {"Host": "tune.example.org:8000", "Origin": "http://tune.example.org:8000"}) == 200
    assert outcome(client, {"Host": "127.0.0.1:8000", "Origin": "https://tune.example.org"}) == 200  # a proxy
    assert outcome(client, {"Host": "tune.example.org:8000", "Origin": "http://tune.example.org:9999"}) == 403
    assert outcome(client, {"Host": "127.0.0.1:8000", "Origin": "https://tune.example.org:9999"}) == 403


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
