"""Lists of studies: in their order, with what each study says of itself, and never with what was true before."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna import delete_study, load_study
from sqlalchemy import delete, insert
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.schema import upgrade
from cifar_tune.service.tables import NAMES, SUBMISSIONS
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.web import summaries
from cifar_tune.web.listing import Wish, list_studies
from cifar_tune.web.reading import Studies, finite
from cifar_tune.web.summaries import Summaries
from tests.many_trials import add_trials
from tests.reports import factory
from tests.reports.factory import make_spec, random_trials, store_study
from tests.storage.random_studies import store_random_study

from .asking import get


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


TRIALS_OF_IT = "SELECT trial_id FROM trials WHERE study_id = {}"
DAMAGES = {
    "state": "UPDATE trials SET state = 'ODD' WHERE study_id = {}",
    "number": "UPDATE trials SET number = 'odd' WHERE study_id = {}",
    "value": f"UPDATE trial_values SET value = 'odd' WHERE trial_id IN ({TRIALS_OF_IT})",
    "attribute": f"UPDATE trial_user_attributes SET value_json = '{{{{' WHERE trial_id IN ({TRIALS_OF_IT})",
}


@pytest.mark.parametrize("few", [1000, 1], ids=["small", "large"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_study_does_not_stand_in_the_way_of_a_list(
    damage: str, few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the list with what is wrong; only of attributes of a small study, a list reads nothing."""
    monkeypatch.setattr(summaries, "_FEW", few)
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'damaged.db'}"))
    upgrade(storage.engine)
    for name in ("sound", "spoiled"):
        spec = make_spec(name=name)
        store_study(spec, random_trials(spec, 3), storage)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql(DAMAGES[damage].format(storage.get_study_id_from_name("spoiled")))
    studies = Studies(storage, storage.engine.url)
    lists = Summaries(studies)
    for _ in range(3):  # from the second one on, all trials are counted
        for status_of in (None, studies.status_or_why):
            found = list_studies(storage.engine, lists, Wish(), 0, 10, status_of)
            told = {each.name: each for each in found.studies}
            assert told["sound"].trouble is None
            assert told["sound"].best is not None
            if (damage, few) != ("attribute", 1000):
                assert "changed it" in (told["spoiled"].trouble or "")
                assert told["spoiled"].best is None
            assert status_of is None or "changed it" in (told["spoiled"].status or {})["damaged"]
    close(storage)


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
