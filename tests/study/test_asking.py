"""A trial's parameters depend on its number, not on how often the study was interrupted."""

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.study.asking import ask

from .conftest import spec_of


def test_a_kill_between_two_suggestions_changes_no_draw(storage: RDBStorage) -> None:
    spec = spec_of({"search_space": {"lr": {"low": 0.01, "high": 1.0}, "weight_decay": {"low": 0.0, "high": 0.1}}})
    _, wanted = ask(optuna.create_study(study_name="undisturbed", storage=storage), spec)

    study = optuna.create_study(study_name="killed", storage=storage)
    trial, _ = ask(study, spec)
    names = list(trial.params)
    optuna.delete_study(study_name="killed", storage=storage)
    study = optuna.create_study(study_name="killed", storage=storage)
    half = study.ask()
    half.suggest_float(
        names[0], **{"lr": {"low": 0.01, "high": 1.0}, "weight_decay": {"low": 0.0, "high": 0.1}}[names[0]]
    )
    storage.set_trial_state_values(half._trial_id, TrialState.WAITING)
    again, config = ask(study, spec)
    assert again.number == 0
    assert config[names[1]] == wanted[names[1]]
