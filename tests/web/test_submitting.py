"""Studies that are submitted and changed over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cifar_tune.service.refusals import BusyError
from cifar_tune.service.storage_desk import StorageDesk

from .conftest import AppOf, ClientOf, study_text


def submit(client: TestClient, text: str, **more: Any) -> Any:
    return client.post("/v1/studies", json={"text": text, **more})


def rules(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {each["key"]: each["rule"] for each in answer.json()["problems"]}


def test_a_study_is_queued(editor: TestClient) -> None:
    answer = submit(editor, study_text("mine"), overrides=["epochs=5"], priority=3, workers=2)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/studies/mine"
    made = answer.json()
    assert (made["study"], made["owner"], made["state"], made["priority"], made["workers"]) == (
        "mine", "anna", "queued", 3, 2,
    )  # fmt: skip
    assert "epochs: 5" in made["text"]
    queue = editor.get("/v1/queue").json()["submissions"]
    assert {each["study"]: each["state"] for each in queue}["mine"] == "queued"
    assert all(each["text"] is None for each in queue)
    assert editor.get("/v1/submissions/mine").json() == made
    assert editor.get("/v1/submissions?owner=anna&limit=1").json()["submissions"][0]["id"] == made["id"]


def test_all_mistakes_are_answered_at_once_with_their_places(editor: TestClient) -> None:
    answer = submit(editor, "name: x\ntrain: {optimzer: sgd}\nsearch_space:\n  lr: {low: -1, high: 1}\n", file="s.yaml")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["title"] == "Unprocessable Entity"
    unknown, low = told["problems"]
    assert unknown == {
        "rule": "unknown key", "key": "train.optimzer", "value": None, "source": "s.yaml", "line": 2,
        "nearest": "optimizer", "more": [],
    } | {"rule": unknown["rule"]}  # fmt: skip
    assert (low["key"], low["line"], low["value"]) == ("search_space.lr.low", 4, -1)
    assert told["detail"].splitlines()[1] == "s.yaml:4: search_space.lr.low = -1: must be a number > 0"


def test_a_request_that_makes_no_sense_is_a_problem_too(editor: TestClient) -> None:
    answer = editor.post("/v1/studies", json={"text": "name: x", "priority": "high", "colour": "red"})
    assert set(rules(answer)) == {"priority", "colour"}
    assert editor.post("/v1/studies", content=b"{").status_code == 422


def test_who_comes_while_too_much_is_checked_is_told_when_to_come_again(
    editor: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BusyError("too many others wait")

    monkeypatch.setattr(StorageDesk, "submit", busy)
    answer = submit(editor, study_text("later"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert answer.json()["detail"] == "too many others wait"


def test_names_belong_to_their_owners(client_of: ClientOf) -> None:
    answer = submit(client_of("other editor"), study_text("queued"))
    assert answer.status_code == 409
    assert "belongs to anna" in answer.json()["detail"]


def test_the_life_of_a_submission(editor: TestClient) -> None:
    assert submit(editor, study_text("lives")).status_code == 201

    def change(**what: Any) -> Any:
        answer = editor.patch("/v1/studies/lives", json=what)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert change(priority=9)["priority"] == 9
    assert change(workers=3)["workers"] == 3
    assert change(workers=None)["workers"] is None
    assert change()["priority"] == 9
    assert change(wanted="pause")["state"] == "paused"
    assert change(wanted="run")["state"] == "queued"
    assert editor.post("/v1/studies/lives/pause").json()["state"] == "paused"
    assert editor.post("/v1/studies/lives/resume").json()["state"] == "queued"
    assert editor.post("/v1/studies/lives/cancel").json()["state"] == "cancelled"
    again = editor.post("/v1/studies/lives/cancel")
    assert again.status_code == 409
    assert "has ended" in again.json()["detail"]


def test_images_lie_where_the_administrator_said(app_of: AppOf, client_of: ClientOf, tmp_path: Path) -> None:
    (tmp_path / "images" / "mine").mkdir(parents=True)
    (tmp_path / "images" / "out").symlink_to(tmp_path)
    client = client_of("editor", app_of(data_folder=tmp_path / "images"))

    def with_root(root: object) -> Any:
        text = f"name: photos\ndata: {{name: image_folder, root: {root}}}\n"
        return submit(client, text)

    for wrong in ("/etc", tmp_path, tmp_path / "images" / ".." / "x", tmp_path / "images" / "out" / "x", "~", "$HOME"):
        assert set(rules(with_root(wrong))) == {"data.root"}
    assert with_root(tmp_path / "images" / "mine").status_code == 201
    set_too = submit(client, "name: other\n", overrides=["data.root=/etc"])
    assert set(rules(set_too)) == {"data.root"}
    assert "name its folder below" in rules(submit(client, "name: cifar\n"))["data.root"]


def test_no_other_database_is_opened(editor: TestClient, tmp_path: Path) -> None:
    (tmp_path / "other.db").touch()
    for storage in (f"sqlite:///{tmp_path}/other.db", "postgresql://somebody:secret@10.0.0.1/x"):
        answer = submit(editor, f"name: x\ntransfer_from: {{study: made, storage: '{storage}'}}\n")
        assert set(rules(answer)) == {"transfer_from.storage"}
        assert "secret" not in answer.text


def test_a_study_is_removed_when_its_name_is_said_twice(
    editor: TestClient, client_of: ClientOf, viewer: TestClient
) -> None:
    assert submit(editor, study_text("gone")).status_code == 201
    assert editor.delete("/v1/studies/gone?confirm=gone").status_code == 409  # it waits
    assert editor.post("/v1/studies/gone/cancel").status_code == 200
    assert set(rules(editor.delete("/v1/studies/gone?confirm=queued"))) == {"confirm"}
    assert editor.delete("/v1/studies/gone").status_code == 422
    assert client_of("other editor").delete("/v1/studies/gone?confirm=gone").status_code == 403
    assert editor.delete("/v1/studies/gone?confirm=gone").json() == {"study": "gone", "linked": [], "left": []}
    assert viewer.get("/v1/studies/gone").status_code == 404
    assert submit(client_of("other editor"), study_text("gone")).status_code == 201  # the name is free


def test_without_such_a_folder_there_is_no_root(editor: TestClient) -> None:
    found = rules(submit(editor, "name: photos\ndata: {name: image_folder, root: /etc}\n"))
    assert found == {"data.root": "the administrator has named no folder of images (serve --data-folder)"}


@pytest.mark.parametrize("plugins", ["[mine.py]", "[acme]", "[{path: mine.py}]", "{a: b}"])
def test_plugins_are_what_the_administrator_allowed(editor: TestClient, plugins: str) -> None:
    found = rules(submit(editor, f"name: x\nplugins: {plugins}\n"))
    assert {key.partition("[")[0] for key in found} == {"plugins"}


@pytest.mark.parametrize(
    "text",
    [
        "name: x\ntrain: {init_from: /etc/passwd}\n",
        "name: x\nsearch_space: {init_from: {choices: [/etc/passwd, fresh]}}\n",
        "name: x\nsearch_space: {lr: {low: 0.1, high: 1, when: {init_from: [/etc/passwd]}}}\n",
        "name: x\nstart_from: [{init_from: /etc/passwd}]\n",
        "name: x\nstart_from: [/etc/passwd]\n",
        "x-a: &a {init_from: /etc/passwd}\nname: x\ntrain: {<<: *a}\n",
        "name: x\ntransfer_from: {study: y, storage: 'sqlite:////etc/passwd'}\n",
    ],
)
def test_no_other_file_is_read(editor: TestClient, text: str) -> None:
    found = rules(submit(editor, text))
    assert any(name in key for key in found for name in ("init_from", "start_from", "transfer_from.storage"))
    assert "no file" not in str(found)  # nobody finds out what is there
