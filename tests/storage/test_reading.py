"""Trials that are read in bulk are those that Optuna reads one by one."""

import random
from datetime import datetime

import optuna
import pytest
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from cifar_tune import optuna_tables
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_questions import distributions_of_study, user_attribute_of_trials
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import Parts
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage

from .random_studies import random_trial, store_random_study


def in_words(trials: list[FrozenTrial]) -> list[str]:
    """NaN is not equal to itself."""
    return [repr(sorted(vars(trial).items())) for trial in map(ordered, trials)]


def ordered(trial: FrozenTrial) -> FrozenTrial:
    """Attributes and reports have no order."""
    for name in ("user_attrs", "system_attrs", "intermediate_values"):
        setattr(trial, name, dict(sorted(getattr(trial, name).items())))
    return trial


def by_optuna(database: URL) -> list[FrozenTrial]:
    storage = RDBStorage(database.render_as_string(hide_password=False))
    try:
        return storage.get_all_trials(storage.get_study_id_from_name("test"))
    finally:
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.parametrize("at_once", [3, 400])
def test_all_of_them(database: URL, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_tables, "_AT_ONCE", at_once)
    storage = open_storage(database)
    for seed in (1, 2):
        store_random_study(storage, random.Random(seed), 60)  # noqa: S311
        own = storage.get_study_id_from_name("test")
        expected = in_words(by_optuna(database))
        assert in_words(storage.get_all_trials(own)) == expected
        assert len(expected) == 60
        states = (TrialState.FAIL, TrialState.RUNNING)
        assert in_words(storage.get_all_trials(own, states=states)) == in_words(
            [trial for trial in by_optuna(database) if trial.state in states]
        )
        chosen = [trial for trial in by_optuna(database) if trial.number in (2, 7, 8, 40)]
        assert in_words(storage.read_trials(own, ids=list(map(trial_id, chosen)))) == in_words(chosen)
        optuna.delete_study(study_name="test", storage=storage)
    close(storage)


def test_what_a_cache_asks_for(database: URL) -> None:
    """Optuna's cache reads those that had not ended, and those that are new."""
    storage, draw = open_storage(database), random.Random(0)  # noqa: S311
    spec = store_random_study(storage, draw, 30)
    own = storage.get_study_id_from_name("test")
    cached = get_storage(storage)
    cached.get_all_trials(own)
    study = optuna.load_study(study_name="test", storage=storage)
    study.add_trials([random_trial(spec, draw) for _ in range(10)])
    for trial in study.get_trials(states=(TrialState.WAITING, TrialState.RUNNING)):
        storage.set_trial_user_attr(trial_id(trial), "late", 1)
        storage.set_trial_state_values(trial_id(trial), TrialState.FAIL)
    assert in_words(cached.get_all_trials(own)) == in_words(by_optuna(database))
    close(storage)


def test_parts_of_them(database: URL) -> None:
    storage = open_storage(database)
    store_random_study(storage, random.Random(3), 60)  # noqa: S311
    own = storage.get_study_id_from_name("test")
    expected = by_optuna(database)
    long_ago = datetime(2025, 7, 1, 13)
    parts = Parts(left_out=attributes.HISTORY, long_ago=long_ago)
    for trial in expected:
        if trial.state.is_finished() and trial.datetime_complete and trial.datetime_complete < long_ago:
            for key in (attributes.HISTORY, f"{attributes.HISTORY}_2"):
                trial.user_attrs.pop(key, None)
    assert in_words(storage.read_trials(own, parts=parts)) == in_words(expected)
    kept = [attributes.HISTORY in trial.user_attrs for trial in expected if trial.state.is_finished()]
    assert 0 < sum(kept) < len(kept)

    outlines = storage.read_trials(own, parts=Parts(times=False, params=False, reports=False, user=("a",)))
    assert [trial.values for trial in outlines] == [trial.values for trial in expected]
    assert not any(trial.params or trial.intermediate_values or trial.user_attrs for trial in outlines)
    bare = Parts(user=(attributes.CONFIG, attributes.REASON), bare=(attributes.CONFIG,))
    for trial, whole in zip(storage.read_trials(own, parts=bare), expected, strict=True):
        assert trial.user_attrs == {
            key: None if key == attributes.CONFIG else value
            for key, value in whole.user_attrs.items()
            if key in (attributes.CONFIG, attributes.REASON)
        }
    close(storage)


def test_questions_about_all_trials(database: URL) -> None:
    storage = open_storage(database)
    store_random_study(storage, random.Random(4), 60)  # noqa: S311
    own = storage.get_study_id_from_name("test")
    trials = by_optuna(database)
    assert set(distributions_of_study(storage.engine, own)) == {
        each for trial in trials for each in trial.distributions.items()
    }
    assert user_attribute_of_trials(storage.engine, own, attributes.CONFIG) == {
        trial.number: trial.user_attrs[attributes.CONFIG] for trial in trials if attributes.CONFIG in trial.user_attrs
    }
    close(storage)


def test_a_study_that_is_gone(database: URL) -> None:
    storage: BatchStorage = open_storage(database)
    with pytest.raises(KeyError):
        storage.read_trials(1)
    close(storage)
