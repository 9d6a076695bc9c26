"""optuna-dashboard behind the door."""

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import pytest
from optuna import create_study
from sqlalchemy import insert
from starlette.testclient import TestClient

from cifar_tune.optuna_internals import study_id as study_id_of
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.tables import NAMES

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
    assert admin.put(f"/api/studies/{number}/note/", json={"body": "y", "version": 1}).status_code == 409  # an old one
    assert admin.delete(f"/api/studies/{number}").status_code == 204
    assert "by-hand" not in {each["study_name"] for each in admin.get("/api/studies").json()["study_summaries"]}
    events = admin.get(f"/v1/events?after={last}").json()["events"]
    assert [(each["action"], each["target"], each["outcome"], each["detail"].get("status")) for each in events] == [
        ("dashboard POST", None, "asked", None), ("dashboard POST", None, "done", 201),
        ("dashboard PUT", "by-hand", "asked", None), ("dashboard PUT", "by-hand", "done", 204),
        ("dashboard PUT", "by-hand", "asked", None), ("dashboard PUT", "by-hand", "failed", 409),
        ("delete", "by-hand", "done", None),
    ]  # fmt: skip
    assert admin.delete("/api/studies/999").status_code == 404


@dataclass(frozen=True)
class Owned:
    study: int
    trial: int


@pytest.fixture(scope="module")
def owned(storage: BatchStorage) -> dict[str, Owned]:
    """A study of each of two people, with a running trial."""
    found = {}
    for owner in ("anna", "olaf"):
        study = create_study(study_name=f"of-{owner}", storage=storage)
        found[owner] = Owned(study_id_of(study), trial_id(study.ask()))
        with storage.engine.begin() as connection:
            connection.execute(insert(NAMES).values(study=f"of-{owner}", owner=owner, since=0.0))
    return found


def uploaded(client: TestClient, path: str, content: bytes = b"<script>alert(1)</script>") -> str:
    file = f"data:text/html;base64,{b64encode(content).decode()}"
    answer = client.post(f"/api/artifacts/{path}", json={"file": file, "filename": "page.html"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["artifact_id"])


def test_nobody_reaches_another_study_through_their_own(owned: dict[str, Owned], client_of: ClientOf) -> None:
    anna, olaf = owned["anna"], owned["olaf"]
    his = client_of("other editor")
    hers = client_of("editor")
    file = uploaded(his, f"{olaf.study}")
    of_trial = uploaded(his, f"{olaf.study}/{olaf.trial}")
    note: dict[str, Any] = {"body": "x", "version": 1}
    upload = {"file": "data:text/plain;base64,eA==", "filename": "x"}
    tries: list[tuple[str, str, Any]] = [
        ("PUT", f"/api/studies/{anna.study}/{olaf.trial}/note", note),
        ("POST", f"/api/artifacts/{anna.study}/{olaf.trial}", upload),
        ("DELETE", f"/api/artifacts/{anna.study}/{file}", None),
        ("DELETE", f"/api/artifacts/{anna.study}/{anna.trial}/{of_trial}", None),
        ("DELETE", f"/api/artifacts/{anna.study}/{olaf.trial}/{of_trial}", None),
    ]
    for method, path, body in tries:
        assert hers.request(method, path, json=body).status_code == 404, path
    assert his.get(f"/artifacts/{olaf.study}/{file}").status_code == 200
    assert his.get(f"/artifacts/{olaf.study}/{olaf.trial}/{of_trial}").status_code == 200
    assert hers.put(f"/api/studies/{anna.study}/{anna.trial}/note", json=note).status_code == 204
    mine = uploaded(hers, f"{anna.study}/{anna.trial}")
    assert hers.delete(f"/api/artifacts/{anna.study}/{anna.trial}/{mine}").status_code == 204
    assert hers.delete(f"/api/artifacts/{anna.study}/{uploaded(hers, str(anna.study))}").status_code == 204


def test_a_page_that_somebody_has_uploaded_can_ask_us_for_nothing(owned: dict[str, Owned], editor: TestClient) -> None:
    file = uploaded(editor, f"{owned['anna'].study}")
    answer = editor.get(f"/artifacts/{owned['anna'].study}/{file}")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    pages = editor.get("/dashboard").headers["content-security-policy"]
    assert "'unsafe-inline'" not in re.findall("script-src[^;]*", pages)[0]  # a note may hold a script


def test_trials_of_our_studies_are_changed_by_training_alone(admin: TestClient, storage: BatchStorage) -> None:
    trial = storage.get_trial_id_from_study_id_trial_number(study_id(admin, "made"), 40)
    for what, body in (("tell", {"state": "Fail"}), ("user-attrs", {"user_attrs": {"config": {"init_from": "/etc"}}})):
        answer = admin.post(f"/api/trials/{trial}/{what}", json=body)
        assert answer.status_code == 409
        assert "by training alone" in answer.json()["detail"]
    assert storage.get_trial(trial).state.name == "RUNNING"


def test_no_study_gets_a_name_that_is_taken(admin: TestClient) -> None:
    made = {"study_name": "queued", "directions": ["maximize"]}
    for path in ("/api/studies", f"/api/studies/{study_id(admin, 'made')}/rename"):
        answer = admin.post(path, json=made)
        assert answer.status_code == 409
        assert "belongs to anna" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/favicon.ico", None, 200),
        ("GET", "/static/none.js", None, 404),
        ("GET", "/api/studies/99999999999999999999", None, 404),
        ("GET", "/csv/-99999999999999999999", None, 404),
        ("POST", "/api/trials/99999999999999999999/tell", b"{}", 404),
        ("DELETE", f"/api/studies/{'9' * 5000}", None, 404),
        ("POST", "/api/studies", b"[]", 422),
        ("POST", "/api/studies", b"[" * 100_000, 422),
        ("POST", "/api/llm/trial_filter_query", b"{}", 404),
        ("POST", "/api/studies", (b"x" * 100_000 for _ in range(5)), 413),
    ],
)
def test_odd_requests_are_no_errors_of_ours(
    admin: TestClient, method: str, path: str, content: Any, status: int
) -> None:
    admin.headers.pop("accept-encoding")
    assert admin.request(method, path, content=content).status_code == status
