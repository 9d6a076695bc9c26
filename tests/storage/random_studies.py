"""Studies with trials of every kind, drawn at random: ours and those of other programs, finished or not."""

import math
import random
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from cifar_tune.storage import attributes
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from tests.many_trials import add_trials

STATES = (*4 * [TrialState.COMPLETE], *TrialState)
SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "batch_size": IntDistribution(32, 128, step=32),
    "optimizer": CategoricalDistribution(["sgd", "adamw"]),
    "nesterov": CategoricalDistribution([True, False]),
}
METRICS = ("val_accuracy", "val_loss", "parameters")


def random_spec(draw: random.Random) -> StudySpec:
    """With one objective or several, with constraints or without."""
    several = draw.random() < 0.5
    objective: Any = {"metric": "val_accuracy"}
    if several:
        objective = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
    elif draw.random() < 0.3:
        objective = {"metric": "val_loss", "direction": "minimize"}
    plain: dict[str, Any] = {
        "name": "test",
        "objective": objective,
        "budget": {"trials": 50},
        "data": {"name": "digits"},
        "search_space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
    }
    if draw.random() < 0.5:
        plain["constraints"] = ["val_accuracy >= 0.3", "parameters <= 3000"]
    return read_study(Document(plain), None).spec


def store_random_study(storage: BaseStorage, draw: random.Random, trials: int) -> StudySpec:
    """Create a study of a random specification with so many random trials."""
    spec = random_spec(draw)
    directions = [each.direction for each in spec.objectives]
    study = optuna.create_study(study_name=spec.name, storage=storage, directions=directions)
    study.set_user_attr(attributes.SPEC, spec.stored())
    add_trials(storage, study, [random_trial(spec, draw) for _ in range(trials)])
    return spec


def random_trial(spec: StudySpec, draw: random.Random) -> FrozenTrial:
    """Few different values, so that several trials are equally good."""
    state = draw.choice(STATES)
    chosen = {name: each for name, each in SPACE.items() if draw.random() < 0.7}
    params = {name: _drawn(each, draw) for name, each in chosen.items()}
    epochs = draw.randint(0, 4)
    user = _user_attributes(state, epochs, params, draw)
    system: dict[str, Any] = {}
    for each in spec.constraints:
        if draw.random() < 0.8:
            system[f"constraints:{each}"] = draw.choice([-1.0, 0.0, 2.0, math.nan])
    if system and draw.random() < 0.5:
        system["constraints"] = list(system.values())
    if draw.random() < 0.2:
        system["fixed_params"] = {"lr": 0.1}
    if draw.random() < 0.2:
        system["completed_rung_0"] = 0.5
    finite = [0.25, 0.5, 0.75]
    values = [draw.choice([*finite, math.inf, -math.inf]) for _ in spec.objectives]
    keeps_value = state == TrialState.COMPLETE or (
        state == TrialState.PRUNED and len(values) == 1 and draw.random() < 0.7
    )
    trial = create_trial(
        state=state,
        values=values if keeps_value else None,
        params=params,
        distributions=chosen,
        user_attrs=user,
        system_attrs=system,
        intermediate_values={
            step: draw.choice([*finite, math.nan, math.inf, -math.inf]) for step in range(1, epochs + 1)
        },
    )
    trial.datetime_start = datetime(2025, 7, 1, 12, 30, 15, draw.randint(0, 999_999))
    if state.is_finished():
        trial.datetime_complete = trial.datetime_start + timedelta(hours=draw.random())
    return trial


def _drawn(distribution: BaseDistribution, draw: random.Random) -> Any:
    match distribution:
        case CategoricalDistribution():
            return draw.choice(distribution.choices)
        case IntDistribution():
            return draw.randrange(distribution.low, distribution.high + 1, distribution.step)
        case FloatDistribution():
            return draw.uniform(distribution.low, distribution.high)
    raise TypeError(distribution)


def _user_attributes(state: TrialState, epochs: int, params: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    user: dict[str, Any] = {"note of somebody": ["ä", {"b": None, "c": "d"}], "size": 10**20}
    if draw.random() < 0.8:
        user[attributes.CONFIG] = {**params, "epochs": 4}
    if state.is_finished() and draw.random() < 0.9:
        user[attributes.REASON] = draw.choice([*attributes.REASONS, "repeated", "something else"])
    if state == TrialState.FAIL and draw.random() < 0.7:
        user[attributes.ERROR] = "Traceback\n  in a file\nValueError: ü"
    if draw.random() < 0.2:
        user[attributes.START_FROM] = draw.randint(0, 3)
    if epochs and draw.random() < 0.8:
        user[attributes.EPOCHS] = epochs
        user[attributes.HISTORY] = {"val_accuracy": [0.5] * epochs}
        user[f"{attributes.HISTORY}_2"] = {"val_accuracy": [0.5]}
        user["historyx"] = 1
    if draw.random() < 0.5:
        user[attributes.METRICS] = {name: draw.choice([0.25, 0.5]) for name in METRICS}
    if draw.random() < 0.5:
        user[attributes.DEVICE] = "cpu"
    return user
