"""optuna-dashboard behind the door."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from .conftest import OURS, ClientOf


def study_id(client: TestClient, name: str) -> int:
    listed: Any = client.get("/api/studies").json()
    return next(int(each["study_id"]) for each in listed["study_summaries"] if each["study_name"] == name)


def test_viewers_look(viewer: TestClient) -> None:
    number = study_id(viewer, "made")
    assert len(viewer.get(f"/api/studies/{number}?after=0").json()["trials"]) == 41
    page = viewer.get("/dashboard")
    assert page.status_code == 200
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert viewer.get("/report/made/trials.csv").text.startswith("number,")
    assert "sandbox" in viewer.get("/report/made/trials.csv").headers["content-security-policy"]


def test_nobody_is_sent_to_the_log_in_page(nobody: TestClient) -> None:
    page = nobody.get("/dashboard/studies/1", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next_page=/dashboard/studies/1")
    for path in ("/api/studies", "/static/bundle.js", "/csv/1", "/artifacts/1/x", "/report/made/trials.csv"):
        assert nobody.get(path).status_code == 401, path
    assert nobody.post("/api/studies", json={}, headers=OURS).status_code == 401


CHANGES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/api/studies", {"study_name": "by-hand", "directions": ["maximize"]}),
    ("POST", "/api/studies/{study}/rename", {"study_name": "renamed"}),
    ("PUT", "/api/studies/{study}/note", {"body": "x", "version": 1}),
    ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"x": 1}}),
    ("POST", "/api/trials/1/tell", {"state": "Fail"}),
    ("DELETE", "/api/studies/{study}", {}),
    ("POST", "/api/artifacts/{study}", {"file": "data:text/plain;base64,eA==", "filename": "x"}),
)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_changes_take_a_right_and_leave_an_event(
    method: str, path: str, body: dict[str, Any], client_of: ClientOf, viewer: TestClient
) -> None:
    path = path.format(study=study_id(viewer, "made"))
    last = viewer.get("/v1/events").json()["last"]
    for role in ("viewer", "editor"):  # `run` has made the study, so only admins may change it
        before = viewer.get("/api/studies").json()
        answer = client_of(role).request(method, path, json=body, headers=OURS)
        assert answer.status_code == 403, role
        assert viewer.get("/api/studies").json() == before
    events = viewer.get(f"/v1/events?after={last}").json()["events"]
    assert [(each["actor"], each["outcome"]) for each in events] == [("vera", "refused"), ("anna", "refused")]


def test_admins_change_and_delete(admin: TestClient) -> None:
    last = admin.get("/v1/events").json()["last"]
    made = admin.post("/api/studies", json={"study_name": "by-hand", "directions": ["maximize"]})
    assert made.status_code == 201
    number = study_id(admin, "by-hand")
    assert admin.put(f"/api/studies/{number}/note", json={"body": "x", "version": 1}).status_code == 204
    assert admin.delete(f"/api/studies/{number}").status_code == 204
    assert "by-hand" not in {each["study_name"] for each in admin.get("/api/studies").json()["study_summaries"]}
    events = admin.get(f"/v1/events?after={last}").json()["events"]
    assert [(each["action"], each["target"], each["outcome"]) for each in events] == [
        ("dashboard POST", None, "done"), ("dashboard PUT", "by-hand", "done"), ("delete", "by-hand", "done"),
    ]  # fmt: skip
    assert admin.delete("/api/studies/999").status_code == 404
