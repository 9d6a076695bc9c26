"""SQLite gives the numbers of deleted studies and trials again: what was seen of the old ones is forgotten."""

from datetime import datetime

import optuna
import pytest
from optuna.trial import create_trial
from sqlalchemy import update
from sqlalchemy.engine import URL

from cifar_tune.cli.watching import Watcher
from cifar_tune.dashboard.serve import Dashboard
from cifar_tune.optuna_internals import study_id, trial_id
from cifar_tune.optuna_tables import TRIALS
from cifar_tune.storage.rdb import close, open_storage
from tests.reports.factory import MadeTrial, make_record, make_spec

from .conftest import STUDY
from .test_serve import fetch


def trials_of(dashboard: Dashboard, study: int) -> list[tuple[int, object]]:
    shown = fetch(dashboard, f"/api/studies/{study}?after=0")
    assert isinstance(shown, dict)
    return [(trial["trial_id"], trial.get("values")) for trial in shown["trials"]]


@pytest.mark.parametrize("name", [STUDY, "another"])
def test_a_new_study_has_no_trials_of_a_deleted_one(dashboard: Dashboard, url: URL, name: str) -> None:
    before = trials_of(dashboard, 1)
    assert len(before) == 4
    fetch(dashboard, "/api/studies/1/param_importances")
    storage = open_storage(url)
    optuna.delete_study(study_name=STUDY, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, directions=["minimize", "maximize"])
    study.add_trial(create_trial(values=[0.25, 0.5], user_attrs={"new": 1}))
    assert study_id(study) == 1
    assert trial_id(study.get_trials()[0]) == before[0][0]

    listed = fetch(dashboard, "/api/studies")
    assert isinstance(listed, dict)
    assert [each["study_name"] for each in listed["study_summaries"]] == [name]
    assert trials_of(dashboard, 1) == [(before[0][0], [0.25, 0.5])]
    shown = fetch(dashboard, "/api/studies/1?after=0")
    assert isinstance(shown, dict)
    assert shown["directions"] == ["minimize", "maximize"]
    assert shown["union_search_space"] == []
    assert [each["key"] for each in shown["union_user_attrs"]] == ["new"]
    study.add_trial(create_trial(values=[0.75, 0.5]))
    close(storage)


def test_one_that_has_no_trials_yet(dashboard: Dashboard, url: URL) -> None:
    assert len(trials_of(dashboard, 1)) == 4
    storage = open_storage(url)
    optuna.delete_study(study_name=STUDY, storage=storage)
    optuna.create_study(study_name=STUDY, storage=storage)
    assert trials_of(dashboard, 1) == []
    close(storage)


def test_watch_too(url: URL) -> None:
    storage = open_storage(url)
    space = {"lr": {"low": 0.1, "high": 1}}
    spec = make_spec(space, name="watched")
    make_record(spec, [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.75)], storage)
    watcher = Watcher("watched", url)
    watcher.look()
    assert values(watcher) == [0.5, 0.75]
    optuna.delete_study(study_name="watched", storage=storage)
    make_record(spec, [MadeTrial({"lr": 0.3}, 0.25)], storage)
    with storage.engine.begin() as connection:  # those of the factory all begin at the same time
        connection.execute(update(TRIALS).values(datetime_start=datetime(2025, 1, 1)))
    watcher.look()
    assert values(watcher) == [0.25]
    close(storage)
    watcher.close()


def values(watcher: Watcher) -> list[float | None]:
    assert watcher.state is not None
    return [trial["value"] for trial in watcher.state["ended"]]
