"""Studies that are deleted while they are read, or run anew under their names."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna import delete_study, load_study
from sqlalchemy import event
from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.folder_claim import new_identity
from cifar_tune.web import reading
from cifar_tune.web.reading import Studies
from cifar_tune.web.results import Results
from cifar_tune.web.summaries import Summaries
from tests.exhaustive import few_of
from tests.reports import factory
from tests.reports.factory import make_spec, random_trials, store_study

from .conftest import AppOf, ClientOf


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
