"""The modules `optuna_*`, imported late: where a private name is gone, the sentence about it comes first."""

import importlib
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}


def internals() -> Any:
    """Imported late: where a private name is gone, the sentence about it comes first."""
    return importlib.import_module("cifar_tune.optuna_internals")


def storage_module() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_storage")


def tables() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_tables")


def rows() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_rows")


def questions() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_questions")


def ended() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_ended")


def studies() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_studies")


def counts() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_counts")


def database(folder: Path) -> Any:
    return storage_module().BatchStorage(f"sqlite:///{folder / 'contract.db'}")


def asked(storage: Any = None, **options: Any) -> tuple[optuna.Study, optuna.Trial]:
    study = optuna.create_study(study_name="contract", storage=storage, **options)
    return study, study.ask(SPACE)
