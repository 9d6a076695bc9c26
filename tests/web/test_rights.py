"""Every route and every role: who may do what, and that nothing changes where somebody may not."""

from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import select
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.tables import IDENTITIES, NAMES, OWNERS, SESSIONS, SUBMISSIONS, TOKENS

from .conftest import OURS, ROLES, ClientOf, study_text

ALL = frozenset({None, *ROLES})
KNOWN = frozenset(ROLES)
EDITORS = frozenset({"editor", "other editor", "admin"})
OWNER = frozenset({"editor", "admin"})
ADMIN = frozenset({"admin"})

ALLOWED: Mapping[str, frozenset[str | None]] = {
    "GET /healthz": ALL,
    "GET /readyz": ALL,
    "GET /login": ALL,
    "POST /login": ALL,
    "POST /logout": ALL,
    "GET /login/oidc": ALL,  # with an account of a provider: `tests.web.oidc`
    "GET /login/oidc/callback": ALL,
    "GET /assets/{name}": ALL,
    "GET /v1/openapi.json": ALL,
    "GET /": KNOWN,
    "GET /studies/{name:path}": KNOWN,
    "GET /slots": KNOWN,
    "GET /events": KNOWN,
    "GET /submit": EDITORS,
    "GET /metrics": KNOWN,
    "GET /v1/me": KNOWN,
    "GET /v1/studies": KNOWN,
    "GET /v1/studies/{name:path}": KNOWN,
    "GET /v1/studies/{name:path}/trials": KNOWN,
    "GET /v1/studies/{name:path}/trials/{number}": KNOWN,
    "GET /v1/studies/{name:path}/live": KNOWN,
    "GET /v1/studies/{name:path}/best": KNOWN,
    "GET /v1/studies/{name:path}/front": KNOWN,
    "GET /v1/studies/{name:path}/importances": KNOWN,
    "GET /v1/studies/{name:path}/report": KNOWN,
    "GET /v1/studies/{name:path}/report/{file:path}": KNOWN,
    "GET /v1/studies/{name:path}/compare": KNOWN,
    "GET /v1/studies/{name:path}/compare/{kind}": KNOWN,
    "GET /v1/studies/{name:path}/model": KNOWN,
    "GET /v1/studies/{name:path}/model/{file:path}": KNOWN,
    "GET /v1/studies/{name:path}/log": KNOWN,
    "GET /v1/studies/{name:path}/stream": KNOWN,
    "GET /v1/queue": KNOWN,
    "GET /v1/slots": KNOWN,
    "GET /v1/submissions": KNOWN,
    "GET /v1/submissions/{name:path}": KNOWN,
    "GET /v1/events": KNOWN,
    "GET /v1/events/stream": KNOWN,
    "GET /v1/tokens": KNOWN,
    "POST /v1/tokens": ADMIN,
    "DELETE /v1/tokens/{number}": ADMIN,  # one's too: `test_browser_sessions`, `test_administration`
    "POST /v1/studies": EDITORS,
    "PATCH /v1/studies/{name:path}": OWNER,
    "POST /v1/studies/{name:path}/pause": OWNER,
    "POST /v1/studies/{name:path}/resume": OWNER,
    "POST /v1/studies/{name:path}/cancel": OWNER,
    "POST /v1/studies/{name:path}/stop": OWNER,
    "DELETE /v1/studies/{name:path}": OWNER,
    "GET /v1/owners": KNOWN,
    "PATCH /v1/owners/{name}": ADMIN,
}
"""Of `queued`, which is anna's, and of a token of lena's."""

BODIES: Mapping[str, Any] = {
    "POST /v1/tokens": {"owner": "eve", "role": "admin"},
    "PATCH /v1/owners/{name}": {"slots": 4},
    "PATCH /v1/studies/{name:path}": {"priority": 7, "workers": 1, "wanted": "pause"},
}
PAGES = ("GET /", "GET /studies/{name:path}", "GET /slots", "GET /events", "GET /submit")
"""Where nobody is sent to the log-in page."""
STREAMS = ("GET /v1/studies/{name:path}/stream", "GET /v1/events/stream")


def routes(app: FastAPI) -> set[str]:
    found = {f"{method} {each.path}" for each in iter_route_contexts(app.routes) for method in each.methods or ()}
    return {each for each in found if not each.startswith("HEAD ")}


def contents(storage: BatchStorage) -> list[Any]:
    """All that people can change, without when tokens were used."""
    tokens = [column for column in TOKENS.c if column.name != "used_at"]
    with storage.engine.connect() as connection:
        return [
            [tuple(row) for row in connection.execute(select(*columns).order_by(columns[0]))]
            for columns in (
                list(SUBMISSIONS.c),
                list(NAMES.c),
                tokens,
                list(SESSIONS.c),
                list(OWNERS.c),
                list(IDENTITIES.c),
            )
        ]


def ask(client: TestClient, which: str, role: str | None, token: int) -> int:
    method, path = which.split(" ")
    name = "front" if any(part in path for part in ("/front", "/report", "/compare")) else "queued"
    path = path.replace("{name:path}", name).replace("{name}", "page.css").replace("{file:path}", "trials.csv")
    path = path.replace("{number}", str(token) if "tokens" in path else "0").replace("{kind}", "csv")
    path += "?by=optimizer" if "/compare" in path else ""
    body = BODIES.get(which, {"text": study_text(f"of-{str(role).replace(' ', '-')}")} if method == "POST" else None)
    if which == "POST /login":
        return client.post(path, data={"token": "none"}, headers=OURS).status_code
    if method == "DELETE" and "studies" in path:
        path += f"?confirm={name}"
    return client.request(method, path, json=body, headers=OURS).status_code


def test_the_table_has_every_route(app: FastAPI) -> None:
    assert routes(app) == set(ALLOWED)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_who_may_do_what(role: str | None, client_of: ClientOf, storage: BatchStorage, admin: TestClient) -> None:
    client = client_of(role)
    client_of("editor").post("/v1/studies", json={"text": study_text("queued")})  # where another role has removed it
    tokens = admin.get("/v1/tokens").json()["tokens"]
    number = next(each["id"] for each in tokens if each["owner"] == ("olaf" if role == "leaver" else "lena"))
    for which, allowed in ALLOWED.items():
        if role in allowed and which in STREAMS:  # they never end: `test_streams` listens
            continue
        before = contents(storage)
        status = ask(client, which, role, number)
        if role in allowed:
            assert status == 401 if which == "POST /login" else status not in (401, 403), which
        else:
            unknown = 303 if which in PAGES else 401
            assert status == (unknown if role is None else 403), which
            assert contents(storage) == before, which
        if role in allowed and which.startswith("POST /v1/studies/"):
            assert status in (200, 409), which
    assert {each["owner"] for each in admin.get("/v1/tokens").json()["tokens"]} <= {
        "vera",
        "anna",
        "olaf",
        "lena",
        "root",
        "eve",
    }


def test_every_refusal_is_an_event(client_of: ClientOf, viewer: TestClient) -> None:
    last = viewer.get("/v1/events?limit=500").json()["last"]
    assert client_of("other editor").post("/v1/studies/paused/cancel").status_code == 403
    (event,) = viewer.get(f"/v1/events?after={last}").json()["events"]
    assert (event["actor"], event["action"], event["target"], event["outcome"]) == (
        "olaf",
        "cancel",
        "paused",
        "refused",
    )
    assert "belongs to anna" in event["detail"]["why"]
