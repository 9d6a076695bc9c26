"""What is told of a study."""

import json
from collections.abc import Callable

from optuna import delete_study
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports import comparison_files
from cifar_tune.reports.comparison import compare
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.records import load_record
from cifar_tune.web.reading import Studies
from tests.reports.test_race import VALUES, raced
from tests.waiting import wait_until

from .asking import get


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


def test_the_levels_of_a_knob_are_those_of_the_command(viewer: TestClient, storage: BatchStorage) -> None:
    told = get(viewer, "/v1/studies/made/compare?by=optimizer")
    comparison = compare(load_record(storage, "made"), "optimizer")
    assert told["markdown"] == comparison_files.markdown(comparison)
    assert [each["level"] for each in told["levels"]] == [each.label for each in comparison.levels]
    assert [each["mean"] for each in told["levels"]] == [each.mean for each in comparison.levels]
    assert viewer.get("/v1/studies/made/compare/csv?by=optimizer").text == comparison_files.as_csv(comparison)
    picture = viewer.get("/v1/studies/made/compare/png?by=optimizer")
    assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    unknown = get(viewer, "/v1/studies/made/compare?by=optimzer", 422)["problems"]
    assert [(each["key"], each["nearest"]) for each in unknown] == [("by", "optimizer")]
    assert get(viewer, "/v1/studies/maade/compare?by=lr", 404)["title"] == "Not Found"
    assert get(viewer, "/v1/studies/made/compare/gif?by=lr", 422)["problems"][0]["key"] == "kind"


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


def test_who_runs_a_study_is_told_although_none_of_its_trials_changes(storage: BatchStorage, url: URL) -> None:
    studies = Studies(storage, url)
    lease = acquire(storage.engine, "front")
    assert studies.status("front")["owner"] is not None
    mark, text = studies.live("front")
    lease.release()
    wait_until(lambda: studies.live("front")[0] != mark)
    assert json.loads(text)["status"]["owner"] is not None
    assert json.loads(studies.live("front")[1])["status"]["owner"] is None
    assert studies.status("front")["owner"] is None


def test_a_page_that_is_made_once_for_many_has_the_name_and_the_buttons_of_each(
    client_of: Callable[..., TestClient],
) -> None:
    vera, lena, anna, olaf = (client_of(role) for role in ("viewer", "leaver", "editor", "other editor"))
    for client, name in (
        (vera, "vera, viewer"),
        (lena, "lena, viewer"),
        (anna, "anna, editor"),
        (olaf, "olaf, editor"),
    ):
        for path in ("/", "/studies/queued"):
            assert name in client.get(path).text
        assert ('id="pause"' in client.get("/studies/queued").text) == (client is anna)
    anna.post("/v1/studies/queued/pause")
    assert 'id="resume"' in anna.get("/studies/queued").text  # at once, not a second later
    anna.post("/v1/studies/queued/resume")
    assert 'id="pause"' in anna.get("/studies/queued").text
