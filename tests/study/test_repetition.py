"""A configuration that was trained to its end is answered from the record."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import select, update

from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import TRIALS, USER_ATTRIBUTES
from cifar_tune.reports.comparison import compare
from cifar_tune.reports.report import Report
from cifar_tune.storage import attributes
from cifar_tune.storage.records import StudyRecord

from .conftest import RunStudy
from .scripted import Script, ScriptedExecutors

DAY = timedelta(days=1)
STUDY: dict[str, Any] = {
    "budget": {"trials": 12},
    "sampler": {"name": "random", "seed": 1},
    "pruner": {"name": "none"},
    "train": {"epochs": 3},
    "search_space": {"lr": {"choices": [0.1, 0.2]}, "batch_size": {"choices": [32, 64]}},
}


def first_with(record: StudyRecord, number: int) -> int:
    """The first trial that has the configuration of trial `number`."""
    return next(trial.number for trial in record.trials if trial.params == record.trials[number].params)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"objective": [{"metric": "val_accuracy"}, {"metric": "parameters"}]},
        {"constraints": ["val_accuracy >= 0.05", "parameters <= 2000"]},
        {"pruner": {"name": "asha"}},
    ],
    ids=["one objective", "two objectives", "constraints", "asha"],
)
def test_each_configuration_is_trained_once(run_scripted: RunStudy, sections: dict[str, Any]) -> None:
    executors = ScriptedExecutors(Script())
    _, record, recorder = run_scripted(STUDY | sections, executors=executors)
    assert len(record.trials) == record.finished == 12
    trained = {job.number for job in executors.jobs}
    for trial in record.trials:
        first = record.trials[first_with(record, trial.number)]
        stored = record.study.trials[trial.number]
        if first.state != "COMPLETE":
            continue
        assert (trial.number in trained) == (trial.number == first.number)
        assert (trial.values, trial.state, trial.feasible) == (first.values, first.state, first.feasible)
        assert (trial.intermediate, trial.history) == (first.intermediate, first.history)
        assert stored.constraints == record.study.trials[first.number].constraints
        if trial.number != first.number:
            assert trial.reason == "repeated"
            assert trial.seconds == 0
            assert stored.user_attrs[attributes.REPEATS] == first.number
    assert len(trained) < 12
    shown = Report(record).completed
    assert len({str(sorted(trial.params.items())) for trial in shown}) == len(shown)
    compared = compare(record, "lr").levels
    assert sum(len(level.completed) for level in compared) == len(shown)
    assert [end.number for end in recorder.ends] == list(range(12))
    words = [end.detail for end in recorder.ends if end.reason == "repeated"]
    assert words
    assert all("had the same configuration" in detail for detail in words)


def test_one_that_was_pruned_or_failed_is_trained_again(run_scripted: RunStudy) -> None:
    only = STUDY | {"budget": {"trials": 3}, "search_space": {"lr": {"choices": [0.1]}}}
    executors = ScriptedExecutors(Script(disasters={0: [(1, "diverged")], 1: [(1, "error")]}))
    _, record, _ = run_scripted(only, executors=executors)
    assert [trial.reason for trial in record.trials] == ["diverged", "error", "completed"]


def test_the_seed_belongs_to_the_configuration(run_scripted: RunStudy) -> None:
    space = {"lr": {"choices": [0.1]}, "seed": {"low": 0, "high": 10**6}}
    executors = ScriptedExecutors(Script())
    run_scripted(STUDY | {"search_space": space}, executors=executors)
    assert len(executors.jobs) == 12


def test_continued_in_another_run(run_scripted: RunStudy) -> None:
    only = STUDY | {"search_space": {"lr": {"choices": [0.1]}}}
    run_scripted(only | {"budget": {"trials": 1}})
    executors = ScriptedExecutors(Script())
    _, record, _ = run_scripted(only | {"budget": {"trials": 3}}, executors=executors)
    assert not executors.jobs
    assert [trial.reason for trial in record.trials] == ["completed", "repeated", "repeated"]
    assert record.best is not None
    assert record.best.number == 0


def end_long_ago(storage: BatchStorage) -> None:
    """Let all trials have ended a day ago: then their histories are left in the database."""
    with storage.engine.begin() as connection:
        connection.execute(update(TRIALS).values(datetime_complete=datetime.now(UTC).replace(tzinfo=None) - DAY))


def test_a_repeated_trial_has_the_history_of_one_that_ended_long_ago(
    run_scripted: RunStudy, storage: BatchStorage
) -> None:
    only = STUDY | {"search_space": {"lr": {"choices": [0.1]}}}
    run_scripted(only | {"budget": {"trials": 1}})
    end_long_ago(storage)
    _, record, _ = run_scripted(only | {"budget": {"trials": 2}})
    assert [trial.reason for trial in record.trials] == ["completed", "repeated"]
    assert record.trials[1].history == record.trials[0].history
    assert len(record.trials[1].history["val_accuracy"]) == 3


@pytest.mark.parametrize("newer", [set(BEFORE_THEY_WERE_KNOBS), {"sampling", "class_weights", "init_from"}])
def test_one_that_is_older_than_a_knob_is_found(run_scripted: RunStudy, storage: BatchStorage, newer: set[str]) -> None:
    """It was stored without the knob, and did what the study goes on doing."""
    only = STUDY | {"search_space": {"lr": {"choices": [0.1]}}}
    only["train"] = {"epochs": 3, "model": "resnet20", **BEFORE_THEY_WERE_KNOBS}
    run_scripted(only | {"budget": {"trials": 1}})
    with storage.engine.begin() as connection:
        attribute = (USER_ATTRIBUTES.c.trial_id == 1) & (USER_ATTRIBUTES.c.key == attributes.CONFIG)
        [stored] = connection.execute(select(USER_ATTRIBUTES.c.value_json).where(attribute)).scalars()
        older = {name: value for name, value in json.loads(stored).items() if name not in newer}
        assert len(older) == len(json.loads(stored)) - len(newer)
        connection.execute(update(USER_ATTRIBUTES).where(attribute).values(value_json=json.dumps(older)))
    _, record, _ = run_scripted(only | {"budget": {"trials": 2}})
    assert [trial.reason for trial in record.trials] == ["completed", "repeated"]


def test_where_the_database_does_not_give_the_history_the_trial_is_trained_again(
    run_scripted: RunStudy, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = STUDY | {"search_space": {"lr": {"choices": [0.1]}}}
    run_scripted(only | {"budget": {"trials": 1}})
    end_long_ago(storage)

    def away(_self: object, _trial: int) -> None:
        raise StorageInternalError

    monkeypatch.setattr(BatchStorage, "get_trial", away)
    _, record, _ = run_scripted(only | {"budget": {"trials": 2}})
    assert [trial.reason for trial in record.trials] == ["completed", "completed"]
    assert record.trials[1].history["val_accuracy"] == record.trials[0].history["val_accuracy"]


@pytest.mark.parametrize(("size", "trained"), [(1, 1), (2, 2), (4, 4)])
def test_deterministic_batches_see_only_those_before(run_scripted: RunStudy, size: int, trained: int) -> None:
    only = STUDY | {"search_space": {"lr": {"choices": [0.1]}}, "deterministic": size}
    executors = ScriptedExecutors(Script())
    run_scripted(only, executors=executors)
    assert len(executors.jobs) == trained
