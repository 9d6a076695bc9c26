"""What the database counts is what one counts who has read all trials."""

import random
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event, text
from sqlalchemy.engine import URL

from cifar_tune.errors import DamagedError, UserError
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.ended import EndedTrials
from cifar_tune.storage.overview import Overview, overview
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.best_trials import BestTrials
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from tests.exhaustive import few_of
from tests.many_trials import add_trials

from .random_studies import random_trial, store_random_study

PLAIN: dict[str, Any] = {
    "name": "test",
    "budget": {"trials": 1000},
    "data": {"name": "digits"},
    "search_space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
}


@pytest.mark.parametrize("seed", few_of(range(40), range(3)))
def test_it_says_what_all_trials_say(database: URL, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    storage = open_storage(database)
    spec = store_random_study(storage, draw, draw.choice([0, 1, 40, 120]))
    ended = EndedTrials(storage, 1)
    _require_the_same(storage, spec, overview(storage, "test", 5))
    _require_the_same(storage, spec, overview(storage, "test", 5, ended))
    _go_on(storage, spec, draw)
    _require_the_same(storage, spec, overview(storage, "test", 5, ended))
    _require_the_same(storage, spec, overview(storage, "test", 5, ended))
    close(storage)


def _go_on(storage: BatchStorage, spec: StudySpec, draw: random.Random) -> None:
    """Let what runs end, and others begin."""
    study = optuna.load_study(study_name="test", storage=storage)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if draw.random() < 0.8:
            failed = draw.random() < 0.3
            storage.set_trial_user_attr(trial_id(trial), attributes.REASON, "error" if failed else "completed")
            values = None if failed else [draw.choice([0.25, 0.75, 0.9]) for _ in spec.objectives]
            storage.set_trial_state_values(trial_id(trial), TrialState.FAIL if failed else TrialState.COMPLETE, values)
    add_trials(storage, study, [random_trial(spec, draw) for _ in range(draw.choice([0, 3, 15]))])


def _require_the_same(storage: BatchStorage, spec: StudySpec, seen: Overview) -> None:
    record = load_record(storage, "test")
    assert seen.counts == dict(record.counts)
    assert seen.finished == record.finished
    reasons = Counter(trial.reason for trial in record.trials if trial.reason in attributes.REASONS)
    assert seen.reasons == reasons
    assert seen.strangers == record.strangers
    ended = [trial for trial in record.trials if trial.ended]
    ended.sort(key=lambda trial: (trial.ended or datetime.min, trial.number))
    assert [vars(trial) for trial in seen.last] == [vars(trial) for trial in ended[-5:]]
    if record.best is None:
        assert seen.without_best_words == record.without_best_words
    assert (seen.best and vars(seen.best)) == (record.best and vars(record.best))
    if spec.has_several_objectives:
        assert [trial.number for trial in seen.front] == [trial.number for trial in record.front]
        assert [vars(trial) for trial in seen.front] == [vars(trial) for trial in record.front]
    unfinished = [trial for trial in record.trials if trial.state in ("RUNNING", "WAITING")]
    assert [vars(trial) for trial in seen.unfinished] == [vars(trial) for trial in unfinished]
    assert list(seen.failed.items()) == [
        (trial.number, trial.error) for trial in record.trials if trial.state == "FAIL"
    ]
    best = BestTrials(record.study.get_trials(), spec.objectives, spec.constraints).best
    assert (best and best.number) == (record.best and record.best.number)


def test_of_a_study_that_is_known_few_trials_are_read(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(database)
    spec = read_study(Document(PLAIN), None).spec
    study = optuna.create_study(study_name="test", storage=storage, direction="maximize")
    study.set_user_attr(attributes.SPEC, spec.stored())
    ours = {attributes.CONFIG: {"lr": 0.1}, attributes.REASON: "completed"}
    add_trials(storage, study, [create_trial(value=number / 600, user_attrs=ours) for number in range(500)])
    ended, read = EndedTrials(storage, 1), []
    original = storage.read_trials

    def counting(*given: Any, **options: Any) -> list[FrozenTrial]:
        found = original(*given, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(storage, "read_trials", counting)
    assert overview(storage, "test", ended=ended).best.number == 499  # type: ignore[union-attr]
    assert sum(read) < 30
    overview(storage, "test", 5, ended)
    study.add_trial(create_trial(value=0.9, user_attrs=ours))
    read.clear()
    asked: list[str] = []
    event.listen(storage.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    seen = overview(storage, "test", 5, ended)
    assert [trial.number for trial in seen.last] == [496, 497, 498, 499, 500]
    assert seen.best is not None
    assert seen.best.number == 500
    assert len(asked) <= 20, asked
    assert sum(read) == 1  # the new one, once for all that is told of it
    close(storage)


@pytest.mark.parametrize("value", ["NULL", "'text'"])
def test_values_that_no_database_can_sort_are_found(tmp_path: Path, value: str) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'odd.db'}"))
    study = optuna.create_study(study_name="test", storage=storage, direction="maximize")
    study.set_user_attr(attributes.SPEC, read_study(Document(PLAIN), None).spec.stored())
    study.add_trials([create_trial(value=0.5) for _ in range(3)])
    with storage.engine.begin() as connection:
        connection.execute(text(f"UPDATE trial_values SET value = {value} WHERE trial_id = 2"))
    with pytest.raises(DamagedError, match="trial 1"):
        overview(storage, "test", ended=EndedTrials(storage, 1))
    close(storage)


def test_a_study_that_takes_the_place_of_a_deleted_one_is_looked_at_anew(database: URL) -> None:
    storage = open_storage(database)
    ended = EndedTrials(storage, 9)
    for value in (0.9, 0.2):
        study = optuna.create_study(study_name="test", storage=storage, direction="maximize")
        study.set_user_attr(attributes.SPEC, read_study(Document(PLAIN), None).spec.stored())
        study.add_trial(
            create_trial(value=value, user_attrs={attributes.CONFIG: {"lr": 0.1}, attributes.REASON: "completed"})
        )
        assert overview(storage, "test", ended=ended).best.value == value  # type: ignore[union-attr]
        optuna.delete_study(study_name="test", storage=storage)
    close(storage)


def test_a_study_that_is_not_there(database: URL) -> None:
    storage = open_storage(database)
    with pytest.raises(UserError, match="the storage has no study 'test'"):
        overview(storage, "test")
    close(storage)
