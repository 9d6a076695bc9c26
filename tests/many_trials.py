"""Adds many trials to a study: tests make thousands, and one transaction for each takes most of their time."""

from collections.abc import Sequence

from optuna import Study
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from cifar_tune.optuna_internals import study_id
from cifar_tune.optuna_storage import BatchStorage


def add_trials(storage: BaseStorage, study: Study, trials: Sequence[FrozenTrial]) -> None:
    """As `Study.add_trials`; in our storage as rows, which `tests/storage/test_many_trials.py` compares with those."""
    if isinstance(storage, BatchStorage):
        storage.create_trials(study_id(study), trials)
    else:
        study.add_trials(trials)
