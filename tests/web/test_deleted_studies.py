"""Studies that are deleted while they are read, or run anew under their names."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from optuna import delete_study, load_study
from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.folder_claim import new_identity
from cifar_tune.web import reading, summaries
from cifar_tune.web.reading import Studies
from cifar_tune.web.results import Results
from cifar_tune.web.summaries import Summaries
from cifar_tune.web.uses import Uses
from tests.exhaustive import few_of
from tests.meanwhile import at_each_moment
from tests.reports import factory
from tests.reports.factory import make_spec, random_trials, store_study

from .conftest import AppOf, ClientOf

OF_ONE = (
    "/v1/studies/goes",
    "/v1/studies/goes/trials",
    "/v1/studies/goes/best",
    "/v1/studies/goes/live",
    "/studies/goes",
)
OF_ALL = ("/", "/v1/studies", "/v1/studies?details=true")


@pytest.mark.parametrize(
    ("path", "few", "is_run_anew"),
    few_of(
        [
            *((path, 1000, is_run_anew) for path in (*OF_ONE, *OF_ALL) for is_run_anew in (False, True)),
            *((path, 1, False) for path in OF_ALL),
        ],
        [("/v1/studies/goes/best", 1000, False), ("/v1/studies?details=true", 1000, True), ("/v1/studies", 1, False)],
    ),
)
def test_a_study_may_be_deleted_at_any_moment(
    path: str,
    few: int,
    is_run_anew: bool,
    app_of: AppOf,
    client_of: ClientOf,
    storage: BatchStorage,
    url: URL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before each statement that a request needs, one after the other, somebody deletes the study.

    It is large where it has more trials than `few`: then lists look at it in another way.
    """
    monkeypatch.setattr(summaries, "_FEW", few)
    monkeypatch.setattr(Uses, "note", lambda *_: None)  # a timer writes them seconds later, beside any request
    app = app_of()
    client = client_of("viewer", app)
    names = ("goes", "stays")  # without a newer one, the same id is given again
    for name in names:
        store(storage, name)
    other = open_storage(url)

    def happens() -> None:
        delete_study(study_name="goes", storage=other)
        if is_run_anew:
            store(other, "goes")

    def answered() -> Response:
        app.state.here.studies = Studies(storage, url)  # which has read nothing yet
        app.state.here.__post_init__()
        return client.get(path)

    try:
        answers = list(at_each_moment(storage.engine, happens, answered))
    finally:
        for name in names:
            with suppress(KeyError):
                delete_study(study_name=name, storage=storage)
        close(other)
    assert len(answers) > 3
    allowed = (200,) if path in OF_ALL else (200, 404, 422) if is_run_anew else (200, 404)
    assert [each.text for each in answers if each.status_code not in allowed] == []


def store(storage: BatchStorage, name: str) -> None:
    spec = make_spec(name=name)
    store_study(spec, random_trials(spec, 2), storage)


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
