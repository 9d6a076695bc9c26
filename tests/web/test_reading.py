"""What is told of studies."""

import json
from typing import Any

from optuna import delete_study
from starlette.testclient import TestClient

from cifar_tune.optuna_internals import BatchStorage
from tests.reports.test_race import VALUES, raced


def get(client: TestClient, path: str, status: int = 200) -> Any:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_studies_come_page_by_page_the_newest_first(viewer: TestClient) -> None:
    found = get(viewer, "/v1/studies")
    assert [each["name"] for each in found["studies"]] == ["paused", "queued", "front", "made"]
    assert found["total"] == 4
    made = found["studies"][-1]
    assert (made["owner"], made["state"], made["objective"]) == (None, None, "val_accuracy")
    assert made["counts"]["RUNNING"] == 1
    assert made["best"]["value"] == get(viewer, "/v1/studies/made")["status"]["best"]["value"]
    assert get(viewer, "/v1/studies?offset=1&limit=2")["studies"] == found["studies"][1:3]
    assert get(viewer, "/v1/studies?offset=100") == {"studies": [], "total": 4, "offset": 100}


def test_studies_are_found_by_owner_state_and_name(viewer: TestClient) -> None:
    def names(query: str) -> list[str]:
        return [each["name"] for each in get(viewer, f"/v1/studies?{query}")["studies"]]

    assert names("owner=anna") == ["paused", "queued"]
    assert names("state=queued&state=running") == ["queued"]
    assert names("contains=U&order=name") == ["paused", "queued"]
    assert names("order=name") == ["front", "made", "paused", "queued"]


def test_a_study_that_run_has_made(viewer: TestClient) -> None:
    found = get(viewer, "/v1/studies/made")
    assert (found["owner"], found["submission"], found["rights"]) == (None, None, [])
    assert found["status"]["finished"] == 40
    assert [each["number"] for each in found["status"]["running"]] == [40]


def test_a_study_that_waits_for_its_first_run(viewer: TestClient, editor: TestClient) -> None:
    found = get(viewer, "/v1/studies/queued")
    assert (found["owner"], found["status"], found["rights"]) == ("anna", None, [])
    assert found["submission"]["state"] == "queued"
    assert found["submission"]["notify"] == ["***"]
    assert "cancel" in get(editor, "/v1/studies/queued")["rights"]


def test_an_unknown_study_names_the_nearest(viewer: TestClient) -> None:
    found = get(viewer, "/v1/studies/maade", 404)
    assert found["detail"] == "there is no study 'maade' (did you mean 'made'?)"


def test_trials_with_their_values_after_each_epoch(viewer: TestClient) -> None:
    first = get(viewer, "/v1/studies/made/trials?limit=25")
    rest = get(viewer, f"/v1/studies/made/trials?first={first['next']}")
    assert [each["number"] for each in first["trials"] + rest["trials"]] == list(range(41))
    assert rest["next"] is None
    running = get(viewer, "/v1/studies/made/trials?state=RUNNING")["trials"]
    assert [(each["number"], each["intermediate"]) for each in running] == [(40, [[1, 0.2], [2, 0.3]])]
    one = get(viewer, "/v1/studies/made/trials/40")
    assert one["history"] == {"val_accuracy": [0.2, 0.3]}
    assert one["config"]["lr"] == 0.01
    assert get(viewer, "/v1/studies/made/trials/41", 404)["detail"] == "the study 'made' has no trial 41"


def test_the_best_configuration_is_that_of_the_report(viewer: TestClient) -> None:
    best = get(viewer, "/v1/studies/made/best")
    assert best["yaml"] == viewer.get("/v1/studies/made/report/best.yaml").text
    assert best["number"] == json.loads(viewer.get("/v1/studies/made/report/summary.json").text)["best"]["number"]


def test_the_pareto_front(viewer: TestClient) -> None:
    front = get(viewer, "/v1/studies/front/front")["trials"]
    written = json.loads(viewer.get("/v1/studies/front/report/summary.json").text)["front"]
    assert [each["number"] for each in front] == [each["number"] for each in written]


def test_the_report_is_in_a_sandbox(viewer: TestClient) -> None:
    files = get(viewer, "/v1/studies/made/report")["files"]
    assert {"report.html", "trials.csv", "importance.png"} <= {each["name"] for each in files}
    page = viewer.get("/v1/studies/made/report/report.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox allow-scripts" in page.headers["content-security-policy"]
    assert "allow-same-origin" not in page.headers["content-security-policy"]
    assert get(viewer, "/v1/studies/made/report/passwd", 404)["title"] == "Not Found"


def test_importances_so_far(viewer: TestClient) -> None:
    found = get(viewer, "/v1/studies/made/importances")
    assert abs(sum(found["shares"].values()) - 1) < 1e-9
    assert get(viewer, "/v1/studies/front/importances")["why_none"] or get(viewer, "/v1/studies/front/importances")


def test_a_study_without_a_model_says_how_to_get_one(viewer: TestClient) -> None:
    assert "cifar-tune finalize made" in get(viewer, "/v1/studies/made/model", 404)["detail"]


def test_after_a_race_the_best_configuration_is_that_of_its_winner(viewer: TestClient, storage: BatchStorage) -> None:
    raced({key: value for key, value in VALUES.items() if key[1] < 2}, storage, "raced")
    assert get(viewer, "/v1/studies/raced/best")["number"] == 0  # the race is not over
    delete_study(study_name="raced", storage=storage)
    delete_study(study_name="raced/finals", storage=storage)
    raced(VALUES, storage, "raced")
    best = get(viewer, "/v1/studies/raced/best")
    assert (best["number"], best["config"]["lr"]) == (1, 0.05)
    assert best["yaml"] == viewer.get("/v1/studies/raced/report/best.yaml").text
    assert "is no search" in get(viewer, "/v1/studies/raced%2Ffinals/best", 404)["detail"]
    for name in ("raced", "raced/finals"):
        delete_study(study_name=name, storage=storage)
