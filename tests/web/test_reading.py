"""What is told of studies."""

import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from optuna import delete_study, load_study
from sqlalchemy import delete, event, insert
from sqlalchemy.engine import URL, make_url
from starlette.testclient import TestClient

from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports import comparison_files, kept_importances
from cifar_tune.reports.beside import Beside
from cifar_tune.reports.comparison import compare
from cifar_tune.service.tables import NAMES, SUBMISSIONS
from cifar_tune.service.usage import BusySlots, busy_slots
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.folder_claim import new_identity
from cifar_tune.web import reading
from cifar_tune.web.busy_slots import steps_of
from cifar_tune.web.reading import Studies, finite
from cifar_tune.web.results import Results
from cifar_tune.web.summaries import Summaries
from tests.exhaustive import few_of
from tests.many_trials import add_trials
from tests.reports import factory
from tests.reports.factory import MadeTrial, make_spec, random_trials, store_study
from tests.reports.test_race import VALUES, raced
from tests.storage.random_studies import store_random_study
from tests.waiting import wait_until

from .conftest import AppOf, ClientOf


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


@pytest.mark.parametrize(
    "path",
    few_of(
        ["/v1/studies/goes", "/v1/studies/goes/trials", "/v1/studies/goes/best", "/studies/goes", "/"],
        ["/v1/studies/goes/best"],
    ),
)
def test_a_study_may_be_deleted_at_any_moment(
    path: str, app_of: AppOf, client_of: ClientOf, storage: BatchStorage, url: URL
) -> None:
    """Before each statement that a request needs, one after the other, somebody deletes the study."""
    app = app_of()
    client = client_of("viewer", app)
    spec = make_spec(name="goes")
    store_study(spec, random_trials(spec, 2), storage)
    other = open_storage(url)
    statement = 0
    is_over = False
    with closing(sqlite3.connect(str(url.database))) as file, closing(sqlite3.connect(":memory:")) as before:
        file.backup(before)
        while not is_over:
            before.backup(file)
            app.state.here.studies = Studies(storage, url)  # which has read nothing yet
            app.state.here.__post_init__()
            left = [statement]

            def looked(*_: object, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] == -1:
                    delete_study(study_name="goes", storage=other)

            event.listen(storage.engine, "before_cursor_execute", looked)
            try:
                answer = client.get(path)
            finally:
                event.remove(storage.engine, "before_cursor_execute", looked)
            is_over = left[0] >= 0
            assert answer.status_code in (200, 404), (statement, answer.text)
            statement += 1
    assert statement > 3
    delete_study(study_name="goes", storage=storage)
    close(other)


@pytest.mark.parametrize("has_identity", [True, False])
def test_a_study_that_is_run_anew_under_its_name_shows_nothing_of_the_old_one(
    has_identity: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite gives its id, and those of its trials, again, and the counts of its trials are the same."""
    monkeypatch.setattr(reading, "_SECONDS", 0.0)
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'again.db'}"))

    def store(turn: bool, began: datetime) -> None:
        monkeypatch.setattr(factory, "STARTED", began)
        spec = make_spec(name="again")
        trials = random_trials(spec, 40)
        if turn:
            trials = [replace(each, value=None if each.value is None else 1 - each.value) for each in trials]
        store_study(spec, trials, storage)
        if has_identity:
            load_study(study_name="again", storage=storage).set_user_attr(attributes.IDENTITY, new_identity())

    def told(studies: Studies, results: Results, summaries: Summaries) -> list[Any]:
        return [
            results.importances("again"),
            results.best("again"),
            results.front("again"),
            results.report_file("again", "trials.csv"),
            json.loads(results.report_file("again", "summary.json"))["best"],
            studies.status("again"),
            summaries.of({"again": studies.require("again")}),
        ]

    kept = Studies(storage, storage.engine.url)
    here = kept, Results(kept), Summaries(kept)
    began = datetime(2025, 3, 1, 12, 0, 0)
    store(False, began)
    before = told(*here)
    assert told(*here) == before
    delete_study(study_name="again", storage=storage)
    store(True, began if has_identity else began + timedelta(microseconds=1))
    new = Studies(storage, storage.engine.url)
    now = told(new, Results(new), Summaries(new))
    assert [each for each, other in zip(now, before, strict=True) if each == other] == []
    assert told(*here) == now
    close(storage)


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


def test_lists_say_what_each_study_says_of_itself(storage: BatchStorage) -> None:
    draw = random.Random(1)  # noqa: S311
    for _ in range(12):
        studies = Studies(storage, make_url("sqlite://"))  # it remembers for a second
        spec = store_random_study(storage, draw, draw.choice([0, 3, 30]))
        told = Summaries(studies).of({"test": studies.require("test")})["test"]
        seen = overview(storage, "test")
        assert (told["objective"], told["direction"]) == (spec.objective.metric, spec.objective.direction)
        assert (told["counts"], told["finished"]) == (seen.counts, seen.finished)
        assert told["budget_trials"] == 50
        best = None if seen.best is None else {"number": seen.best.number, "value": finite(seen.best.value)}
        assert told["best"] == best
        delete_study(study_name="test", storage=storage)


def test_a_list_does_not_keep_what_was_true_a_second_ago(storage: BatchStorage) -> None:
    """Once the last trial of a study has ended, nothing changes that would make the list look again."""
    spec = make_spec(name="late", constraints=["parameters <= 1000000000"])
    trials = [replace(each, figures={"parameters": 1000}) for each in random_trials(spec, 6, pruned=0.0)]
    store_study(spec, trials[:5], storage)
    studies = Studies(storage, storage.engine.url)
    summaries = Summaries(studies)
    before = summaries.of(["late"])["late"]["best"]["value"]
    assert studies.seen("late").best is not None  # kept for a second, for those who look at its page
    best = replace(trials[5], value=before + 0.05)
    add_trials(storage, load_study(study_name="late", storage=storage), [factory._frozen(spec, best, 5)])
    told = summaries.of(["late"])["late"]
    assert (told["finished"], told["best"]) == (6, {"number": 5, "value": before + 0.05})
    delete_study(study_name="late", storage=storage)


def test_of_many_studies_that_wait_the_page_shows_the_first(
    client_of: Callable[..., TestClient], storage: BatchStorage
) -> None:
    now = time.time()
    row = {
        "owner": "olaf", "file": "study.yaml", "text": "", "priority": 0, "trials": 1, "state": "queued",
        "wanted": "run", "submitted_at": now, "waiting_since": now, "device_seconds": 0.0, "deaths": 0, "notify": [],
    }  # fmt: skip
    names = [f"many-{number}" for number in range(60)]
    with storage.engine.begin() as connection:
        connection.execute(insert(NAMES), [{"study": name, "owner": "olaf", "since": now} for name in names])
        rows = [{**row, "study": name, "living": name, "position": 60 - place} for place, name in enumerate(names)]
        connection.execute(insert(SUBMISSIONS), rows)
    page = client_of("viewer").get("/").text
    queue = page[: page.index('id="all-heading"')]
    assert queue.count('data-label="Place"') == 25
    listed = page.removeprefix(queue)
    assert listed.count('data-label="Owner"') == 25
    assert 'rel="next" href="/?offset=25&' in listed
    assert queue.index("many-59") < queue.index("many-58")
    assert "more wait behind these" in queue
    assert get(client_of("viewer"), "/v1/studies?limit=3&owner=olaf")["total"] == 60
    with storage.engine.begin() as connection:
        connection.execute(delete(NAMES).where(NAMES.c.owner == "olaf"))
        connection.execute(delete(SUBMISSIONS).where(SUBMISSIONS.c.owner == "olaf"))


def test_the_dashboard_tells_the_same_importances_and_waits_for_those_of_a_long_study(
    app_of: AppOf, client_of: ClientOf, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_study(replace(make_spec({}), name="made/finals"), [MadeTrial(value=0.5)] * 9, storage)
    made, finals = (storage.get_study_id_from_name(name) for name in ("made", "made/finals"))
    for few in (1000, 3):
        monkeypatch.setattr(kept_importances, "FEW", few)
        asked = client_of("viewer", app_of())
        [rows] = get(asked, f"/api/studies/{made}/param_importances")["param_importances"]
        told = get(asked, "/v1/studies/made/importances")
        assert {row["name"]: row["importance"] for row in rows} == told["shares"] != {}
        assert get(asked, f"/api/studies/{finals}/param_importances")["param_importances"] == [[]]
        assert "finalize has planned" in get(asked, "/v1/studies/made%2Ffinals/importances")["why_none"]
    delete_study(study_name="made/finals", storage=storage)


def test_what_takes_long_is_made_beside() -> None:
    beside: Beside[int] = Beside(1)
    may_end, has_ended = Event(), Event()

    def slow() -> int:
        may_end.wait()
        has_ended.set()
        return 1

    assert beside.get("key", "mark", slow) is None
    assert beside.get("key", "mark", slow) is None
    may_end.set()
    has_ended.wait()
    while (found := beside.get("key", "mark", slow)) is None:
        time.sleep(0.001)
    assert found == 1
    assert beside.get("key", "another mark", lambda: 2) == 1  # until the next one is there
    while (found := beside.get("key", "another mark", lambda: 3)) == 1:
        time.sleep(0.001)
    assert found == 2


def test_what_takes_long_is_made_again_where_it_has_failed() -> None:
    """Importances of a study that has ended would else fail until the server is started anew."""
    beside: Beside[int] = Beside(1)

    def away() -> int:
        raise CheckError("the database does not answer")

    with pytest.raises(CheckError):
        beside.get("key", "mark", away, waits=True)
    assert beside.get("key", "mark", lambda: 1, waits=True) == 1
    assert beside.get("key", "mark", away, waits=True) == 1


def test_many_changes_make_a_line_of_few_steps() -> None:
    draw = random.Random(0)  # noqa: S311
    changes = [(at, draw.randrange(9)) for at in sorted(draw.uniform(0, 20_000) for _ in range(2000))]
    steps, most = steps_of(changes, 0.0, 21_600.0)
    assert len(steps) <= 340
    assert most == 8
    assert [at for at, _ in steps] == sorted(at for at, _ in steps)
    assert steps_of([], 0.0, 1.0) == ([], 0)
    assert steps_of([(-5.0, 1), (3.0, 2), (3.5, 1)], 0.0, 340.0) == ([(0.0, 1), (3.0, 2), (4.0, 1)], 2)
    assert steps_of([(7.0, 2), (9.0, 0)], 0.0, 340.0) == ([(7.0, 2), (10.0, 0)], 2)


def test_what_is_written_of_busy_slots_is_kept_for_a_day(storage: BatchStorage) -> None:
    written = BusySlots(storage.engine)
    for at, busy in ((0.0, 1), (10.0, 2), (20.0, 2), (30.0, 1), (90_000.0, 0), (90_020.0, 3)):
        written.write(busy, at)
    assert busy_slots(storage.engine, 0.0) == [(30.0, 1), (90_000.0, 0), (90_020.0, 3)]
    assert busy_slots(storage.engine, 80_000.0) == [(30.0, 1), (90_000.0, 0), (90_020.0, 3)]
    assert busy_slots(storage.engine, 90_010.0) == [(90_000.0, 0), (90_020.0, 3)]
    BusySlots(storage.engine).write(1, 89_000.0)
    assert busy_slots(storage.engine, 0.0) == [(30.0, 1), (89_000.0, 1)], "the clock was put back"


def test_slots_that_a_killed_server_has_left_as_busy_are_busy_until_it_was_heard_of_last(storage: BatchStorage) -> None:
    begin, killed = 1_000_000.0, BusySlots(storage.engine)
    for seconds in range(0, 3600, 10):
        killed.write(4, begin + seconds)
    shown = [(begin, 4), (begin + 3570, 4)]
    assert busy_slots(storage.engine, begin) == shown  # and no row for each look
    BusySlots(storage.engine).write(1, begin + 7200)  # one run went on without a server
    assert busy_slots(storage.engine, begin) == [*shown, (begin + 3600, 1), (begin + 7200, 1)]
    BusySlots(storage.engine).write(4, begin + 9000)
    assert busy_slots(storage.engine, begin + 8000) == [(begin + 7200, 1), (begin + 9000, 4)]


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
