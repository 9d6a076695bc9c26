"""A study that evolves, and what is looked at then."""

from collections.abc import Callable
from typing import Any

import optuna

from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.urls import checkpoint_name
from cifar_tune.study.checkpoints import checkpoints_of

SPACE: dict[str, Any] = {
    "optimizer": {"choices": ["sgd", "adamw"]},
    "lr": {"low": 0.01, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
}
Evolve = Callable[[dict[str, Any]], list[str]]


def study(trials: int = 8, **sections: Any) -> dict[str, Any]:
    return {
        "budget": {"trials": trials},
        "pruner": {"name": "none"},
        "sampler": {"name": "random", "seed": 5},
        "train": {"epochs": 4},
        "search_space": SPACE,
    } | sections


def space(**changes: Any) -> dict[str, Any]:
    return {name: each for name, each in (SPACE | changes).items() if each is not None}


def by_lr(record: StudyRecord) -> dict[object, Any]:
    return {
        trial.config["lr"]: (trial.state, trial.value, dict(trial.intermediate), dict(trial.history), trial.reason)
        for trial in record.trials
    }


def write_checkpoint(study: optuna.Study, number: int, content: bytes) -> None:
    checkpoints_of(study).mkdir(parents=True, exist_ok=True)
    (checkpoints_of(study) / checkpoint_name(number)).write_bytes(content)
