"""Tokens, health and figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.web.app import create_app
from cifar_tune.web.models.queueing import Slot, Slots
from cifar_tune.web.settings import WebSettings

from .conftest import AppOf, ClientOf, Template

WRONG: tuple[tuple[str, str, object, str], ...] = (
    ("PATCH", "/v1/studies/queued", {"priority": "high"}, "priority = 'high': must be a whole number"),
    ("PATCH", "/v1/studies/queued", {"priority": 5000}, "priority = 5000: must be between -1000 and 1000"),
    ("PATCH", "/v1/studies/queued", {"prority": 5}, "prority = 5: unknown key"),
    ("PATCH", "/v1/studies/queued", {"wanted": "stop"}, "wanted = 'stop': must be run or pause"),
    ("POST", "/v1/studies", {}, "text: is missing"),
    ("POST", "/v1/studies", {"text": 1, "notify": "x"}, "text = 1: must be text\nnotify = 'x': must be a list"),
    ("POST", "/v1/tokens", {"owner": "ida", "role": "king"}, "role = 'king': must be viewer, editor or admin"),
    ("POST", "/v1/studies", [1], "body: must be a JSON object"),
    ("GET", "/v1/events?limit=0", None, "limit = '0': must be 1 at least"),
    ("GET", "/v1/events?limit=9999", None, "limit = '9999': must be 500 at most"),
    ("GET", f"/v1/studies?contains={'x' * 101}", None, "must have 100 characters at most"),
    ("GET", "/v1/studies?state=ended", None, "state.0 = 'ended': must be queued, running, paused, done, failed or can"),
)


@pytest.mark.parametrize(("method", "path", "body", "words"), WRONG)
def test_what_is_wrong_with_a_request_is_said_as_everywhere(
    admin: TestClient, method: str, path: str, body: object, words: str
) -> None:
    answer = admin.request(method, path, json=body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


NO_JSON: tuple[tuple[dict[str, str], str, str], ...] = (
    ({"Content-Type": "application/json"}, '{"text": 5', "body: is no JSON, at its character 11: Expecting"),
    ({"Content-Type": "application/json"}, "[1]", "body: must be a JSON object"),
    # as `curl -d` sends it
    ({"Content-Type": "application/x-www-form-urlencoded"}, '{"text": "name: x"}', "`Content-Type: application/json`"),
    ({}, '{"text": "name: x"}', "`Content-Type: application/json`"),
)


@pytest.mark.parametrize(("headers", "body", "words"), NO_JSON)
def test_a_body_that_is_no_json_is_told_what_it_lacks(
    admin: TestClient, headers: dict[str, str], body: str, words: str
) -> None:
    answer = admin.post("/v1/studies", content=body, headers=headers)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert ("Content-Type" in answer.json()["detail"]) == ("json" not in headers.get("Content-Type", ""))


def test_what_is_not_there_is_named(admin: TestClient) -> None:
    assert admin.get("/v1/nosuch").json()["detail"] == "There is nothing at /v1/nosuch."
    wrong = admin.put("/v1/queue")
    assert (wrong.status_code, wrong.json()["detail"]) == (405, "PUT is not for /v1/queue; use GET.")


def test_a_token_is_shown_once(admin: TestClient, client_of: ClientOf) -> None:
    answer = admin.post("/v1/tokens", json={"owner": "ida", "role": "editor", "label": "laptop"})
    assert answer.status_code == 201
    made = answer.json()
    secret = made.pop("secret")
    client = client_of(None)
    client.headers["Authorization"] = f"Bearer {secret}"
    assert client.get("/v1/me").json() == {"name": "ida", "role": "editor"}
    listed = client.get("/v1/tokens")
    assert [each["id"] for each in listed.json()["tokens"]] == [made["id"]]
    assert secret not in listed.text + admin.get("/v1/tokens").text + admin.get("/v1/events?limit=500").text
    assert client.delete(f"/v1/tokens/{made['id']}").status_code == 200  # one's own
    assert client.get("/v1/me").status_code == 401
    assert admin.delete(f"/v1/tokens/{made['id']}").status_code == 409
    assert admin.delete("/v1/tokens/12345").status_code == 422


def test_a_token_of_a_role_that_is_none(admin: TestClient) -> None:
    assert admin.post("/v1/tokens", json={"owner": "ida", "role": "emperor"}).status_code == 422
    assert admin.post("/v1/tokens", json={"owner": "ida", "expires_at": 1.0}).status_code == 422


def test_health(nobody: TestClient, app_of: AppOf) -> None:
    assert nobody.get("/healthz").json() == {"status": "ok"}
    assert nobody.get("/readyz").json() == {"ready": True, "parts": {"database": "ok"}}


def test_it_is_not_ready_while_a_part_is_amiss(app_of: AppOf, client_of: ClientOf) -> None:
    app = app_of()
    app.state.here.parts = {"server": lambda: "has not looked for 30 s"}
    answer = client_of(None, app).get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["server"]) == (503, "has not looked for 30 s")


def test_figures(viewer: TestClient) -> None:
    viewer.get("/v1/studies/none")
    text = viewer.get("/metrics").text
    assert 'cifar_tune_http_requests_total{method="GET",route="/v1/studies/{name:path}",status="404"} 1.0' in text
    assert 'cifar_tune_trials{state="RUNNING"} 1.0' in text
    assert 'cifar_tune_submissions{state="queued"} 1.0' in text
    assert "cifar_tune_queue_length 1.0" in text
    assert "cifar_tune_database_seconds" in text


def test_the_page_and_the_figures_count_the_same_busy_slots(
    storage: BatchStorage, url: URL, client_of: ClientOf
) -> None:
    """A slot is held while its trial is being parked, and a trial that a killed run has left as RUNNING holds none."""
    slots = Slots(slots=[Slot(number=n, device="cpu", study=[None, "made", "made"][n]) for n in range(3)], as_of=1.0)
    viewer = client_of("viewer", create_app(storage, url, WebSettings(), lambda: slots))
    assert "cifar_tune_slots_busy 2.0" in viewer.get("/metrics").text
    assert "2 of 3 slots are busy" in viewer.get("/slots").text


SCRIPT = """
import sys
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient
from cifar_tune.storage.rdb import open_storage
from cifar_tune.web.app import create_app
from cifar_tune.web.serving import HttpServer
from cifar_tune.web.settings import WebSettings

url, token = make_url(sys.argv[1]), sys.argv[2]
app = create_app(open_storage(url), url, WebSettings())
client = TestClient(app, "http://127.0.0.1", headers={"Authorization": f"Bearer {token}"})
for path in sys.argv[3:]:
    assert client.get(path).status_code == 200, path
text = "name: torchless\\ndata: {name: digits}\\ntrain: {model: resnet18}\\n"
answer = client.post("/v1/studies", json={"text": text})
assert answer.status_code == 201, answer.text
assert "cifar_tune.dashboard.serve" in sys.modules  # so the dashboard does without torch too
print(sorted({"torch", "torchvision"} & set(sys.modules)))
"""


def test_the_process_that_serves_pages_never_imports_torch(url: URL, template: Template) -> None:
    study = "/v1/studies/made"
    parts = ("", "/trials", "/best", "/importances", "/report/report.html")
    paths = [*(f"{study}{each}" for each in parts), "/v1/studies", "/v1/queue", "/metrics", "/login"]
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, url.render_as_string(), template.tokens["editor"], *paths],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "[]\n"
