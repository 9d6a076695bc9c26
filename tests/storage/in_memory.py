"""A study in memory, its trials, and the same in the database."""

import time

import optuna
from optuna.storages import BaseStorage
from optuna.storages._rdb.models import (
    StudyUserAttributeModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import delete, select, update

from cifar_tune.errors import CifarTuneError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.write_behind import WriteBehindStorage
from tests.waiting import PATIENCE


def in_memory(storage: BaseStorage) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler(0))


def told(study: optuna.Study, epochs: int = 3) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    trial.suggest_categorical("optimizer", ["sgd", "adam"])
    for epoch in range(1, epochs + 1):
        trial.report(0.1 * epoch, epoch)
    trial.set_user_attr("history", {"loss": [1.0, float("nan")]})
    study.tell(trial, 0.1 * epochs)
    return trial


def seen(trial: FrozenTrial) -> tuple[object, ...]:
    return (
        trial.number,
        trial.state,
        trial.values,
        trial.params,
        trial.distributions,
        trial.intermediate_values,
        str(trial.user_attrs),
        trial.system_attrs,
    )


def assert_same(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    assert memory.flush(PATIENCE)
    ours = [seen(trial) for trial in in_memory(memory).trials]
    assert ours == [seen(trial) for trial in in_memory(rdb).trials]
    assert in_memory(memory).user_attrs == in_memory(rdb).user_attrs


def lose_commits(rdb: BatchStorage, numbers: dict[int, str]) -> None:
    """As a server that crashed, or a replica in its place: finished trials run again, `gone` ones are gone."""
    with rdb.engine.begin() as connection:
        for number, what in numbers.items():
            (trial,) = connection.execute(select(TrialModel.trial_id).where(TrialModel.number == number)).scalars()
            models = (TrialValueModel, TrialUserAttributeModel, TrialIntermediateValueModel, TrialParamModel)
            for model in models if what == "gone" else models[:3]:
                connection.execute(delete(model).where(model.trial_id == trial))
            end = update(TrialModel).values(state=TrialState.RUNNING, datetime_complete=None)
            change = delete(TrialModel) if what == "gone" else end
            connection.execute(change.where(TrialModel.trial_id == trial))
        connection.execute(delete(StudyUserAttributeModel))


def failure_of(memory: WriteBehindStorage) -> CifarTuneError:
    """What ends the writing; if there is nothing to write, it is noticed within a second or so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            memory.flush(0.1)
            memory.raise_if_failed()
        except CifarTuneError as error:
            return error
        time.sleep(0.05)
    raise AssertionError("nothing was noticed")
