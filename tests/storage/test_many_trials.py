"""Trials that are created together are those that Optuna writes one by one, to the row."""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy import select

from cifar_tune import optuna_rows
from cifar_tune.optuna_internals import study_id
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.rdb import close, open_storage
from tests.exhaustive import few_of

from .conftest import FreshUrl
from .random_studies import random_spec, random_trial

_DRAWN = 40


def _rows(storage: RDBStorage) -> dict[str, list[str]]:
    """What each table of trials holds, in the order of its keys, but without those that nothing refers to."""
    found = {}
    with storage.engine.connect() as connection:
        for name, table in models.BaseModel.metadata.tables.items():
            if "trial_id" in table.c:
                columns = [each for each in table.c if not each.primary_key or each.name == "trial_id"]
                rows = connection.execute(select(*columns).order_by(*table.primary_key)).all()
                found[name] = list(map(repr, rows))
    return found


def _study(storage: RDBStorage, name: str, directions: Sequence[Any]) -> int:
    return study_id(optuna.create_study(study_name=name, storage=storage, directions=directions))


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are local in memory, and UTC in the database."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
@pytest.mark.parametrize("seed", few_of([0, 1], [1]))  # with one objective, and with several
def test_their_rows_are_those_of_optuna(fresh_url: FreshUrl, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    spec = random_spec(draw)
    trials = [random_trial(spec, draw) for _ in range(_DRAWN)]
    directions = [each.direction for each in spec.objectives]
    ways: list[dict[str, list[str]]] = []
    for _ in range(3):
        storage = open_storage(fresh_url())
        other, own = _study(storage, "other", directions), _study(storage, "own", directions)
        storage.create_new_trial(other, trials[0])
        if not ways:
            for trial in trials:
                RDBStorage._create_new_trial(storage, own, trial)
        elif len(ways) == 1:
            assert storage.create_trials(own, trials[:1]) == [2]
            assert storage.create_trials(own, trials[1:]) == list(range(3, _DRAWN + 2))
            assert storage.create_trials(own, []) == []
        else:
            assert [storage.create_numbered(own, trial) for trial in trials] == [
                (number + 2, number) for number in range(_DRAWN)
            ]
        ways.append(_rows(storage))
        close(storage)
    assert len(ways[0]["trials"]) == _DRAWN + 1
    assert all(ways[0][name] for name in ways[0].keys() - {"trial_heartbeats"})
    assert ways[1] == ways[0]
    assert ways[2] == ways[0]


def _with(distribution: BaseDistribution) -> FrozenTrial:
    return create_trial(value=0.5, params={"lr": 1}, distributions={"lr": distribution}, user_attrs={"a": 1})


def test_all_of_them_or_none(rdb: BatchStorage) -> None:
    """What another kind of parameter has interrupted leaves nothing behind, in the database or in the storage."""
    own = rdb.get_study_id_from_name("s")
    whole, broken = _with(IntDistribution(0, 3)), _with(FloatDistribution(0, 3))
    with pytest.raises(ValueError, match="different distribution kind"):
        rdb.create_trials(own, [whole, broken])
    assert not any(_rows(rdb).values())
    rdb.create_trials(own, [broken, _with(FloatDistribution(0, 5))])  # another range is none
    rows = _rows(rdb)
    for trials in ([whole], [broken, whole]):
        with pytest.raises(ValueError, match="different distribution kind"):
            rdb.create_trials(own, trials)
    assert _rows(rdb) == rows
    assert [trial.number for trial in rdb.get_all_trials(own)] == [0, 1]


def test_of_a_study_that_is_gone(rdb: BatchStorage) -> None:
    with pytest.raises(KeyError):
        rdb.create_trials(7, [_with(IntDistribution(0, 3))])
    assert not any(_rows(rdb).values())


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # others let nobody delete it at this moment
def test_of_a_study_that_somebody_deletes_at_this_moment(rdb: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it stays: SQLite gives its id to the next study, whose trials these would be."""
    own, add = rdb.get_study_id_from_name("s"), optuna_rows._add_row
    url = rdb.engine.url.render_as_string(hide_password=False)

    def deleted(*arguments: Any) -> int:
        monkeypatch.undo()
        optuna.delete_study(study_name="s", storage=url)
        return add(*arguments)

    monkeypatch.setattr(optuna_rows, "_add_row", deleted)
    with pytest.raises(KeyError):
        rdb.create_trials(own, [_with(IntDistribution(0, 3))])
    assert not any(_rows(rdb).values())
