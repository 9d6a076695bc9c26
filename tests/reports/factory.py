"""Made-up studies, stored through Optuna's own interface as a run would store them."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState, create_trial

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import Kind, stored
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.table import KNOBS
from cifar_tune.statistics.predictions import Predictions
from cifar_tune.storage import attributes
from cifar_tune.storage.analyses import Analysis
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study.asking import distribution
from cifar_tune.study.testing import analysed
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from tests.many_trials import add_trials

STARTED = datetime(2025, 3, 1, 12, 0, 0)  # without a zone, as Optuna keeps times
ENVIRONMENT = {"cifar_tune": "0.1.0", "python": "3.11.9", "torch": "2.9.1", "device": "cpu"}
DATA = {"fingerprint": "ab" * 32, "classes": [str(i) for i in range(10)], "train_images": 45000, "val_images": 5000}

CONDITIONAL: Mapping[str, Any] = {
    "optimizer": {"choices": ["sgd", "adamw", "rmsprop"]},
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer": ["sgd", "rmsprop"]}},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "activation": {"choices": ["relu", "leaky_relu", "elu", "silu"]},
    "width": {"choices": [16, 32, 64]},
    "batch_size": {"low": 32, "high": 512, "step": 32},
    "augment": {"choices": ["none", ["random_crop"], ["random_crop", "horizontal_flip"]]},
}


@dataclass
class MadeTrial:
    """A trial to be stored. `history` is made up from `value` where it is not given.

    `figures` are further metrics: objectives behind the first one, constrained ones.
    """

    params: Mapping[str, Value] = field(default_factory=dict)
    value: float | None = None
    state: str = "COMPLETE"
    epochs: int = 5
    reason: str | None = None
    error: str | None = None
    history: Mapping[str, Sequence[float]] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


def make_spec(search_space: Mapping[str, Any] | None = None, **sections: Any) -> StudySpec:
    raw = {"name": "made", "search_space": CONDITIONAL if search_space is None else search_space, **sections}
    return read_study(Document(raw), "made.yaml").spec


def make_record(
    spec: StudySpec, trials: Sequence[MadeTrial], storage: BaseStorage | None = None, stored_as: str | None = None
) -> StudyRecord:
    """Store a study and read it back; `stored_as` is the name in its specification, where it has another one."""
    storage = InMemoryStorage() if storage is None else storage
    store_study(spec, trials, storage, stored_as)
    return load_record(storage, spec.name)


def store_study(
    spec: StudySpec, trials: Sequence[MadeTrial], storage: BaseStorage, stored_as: str | None = None
) -> None:
    """As `make_record`, for whoever need not read it: reading takes as long as writing a few trials."""
    directions = [objective.direction for objective in spec.objectives]
    study = optuna.create_study(study_name=spec.name, storage=storage, directions=directions)
    study.set_user_attr(attributes.SPEC, replace(spec, name=stored_as or spec.name).stored())
    if trials:
        study.set_user_attr(attributes.ENVIRONMENT, ENVIRONMENT)
        study.set_user_attr(attributes.DATA, DATA)
        study.set_user_attr(attributes.ELAPSED, 12.5 * len(trials))
    add_trials(storage, study, [_frozen(spec, trial, index) for index, trial in enumerate(trials)])


def random_trials(spec: StudySpec, count: int, seed: int = 0, pruned: float = 0.4) -> list[MadeTrial]:
    """Trials whose value depends on lr, optimizer and width; a share of them pruned, a few ended otherwise."""
    random_ = random.Random(seed)  # noqa: S311
    trials = []
    for number in range(count):
        chosen: dict[str, Value] = {}

        def choose(name: str, dimension: Dimension, chosen: dict[str, Value] = chosen) -> Value:
            chosen[name] = _draw(name, dimension, random_)
            return chosen[name]

        config = spec.space.configuration(choose)
        epochs = config.integer("epochs")
        quality = 0.78 - 0.06 * (math.log10(config.number("lr")) + 2) ** 2 + random_.gauss(0, 0.02)
        quality += {"sgd": 0.05, "adamw": 0.02}.get(config.text("optimizer"), -0.05)
        accuracy = min(max(quality, 0.1), 0.95)
        more = {"parameters": 1000.0 * config.integer("width")} if "width" in config else {}
        more |= {"flops": 5e6 * (1 + number % 7), "seconds_per_epoch": random.Random(number).uniform(1, 60)}  # noqa: S311
        value = accuracy if spec.objective.direction == "maximize" else -math.log(accuracy) + 0.05
        state, reason, ran = "COMPLETE", "completed", epochs
        fate = random_.random()
        if fate < pruned and epochs > 1:
            state, reason, ran = "PRUNED", "pruned", random_.randint(1, epochs - 1)
            value = value * 0.8 if spec.objective.direction == "maximize" else value * 1.3
        elif number and fate > 0.97:
            state, reason = ("PRUNED", "diverged") if fate > 0.985 else ("FAIL", "error")
            trials.append(MadeTrial(chosen, None, state, 0, reason, "boom: it broke" if state == "FAIL" else None))
            continue
        figures = {name: figure for name, figure in more.items() if name in spec.metrics}
        trials.append(MadeTrial(chosen, value, state, ran, reason, figures=figures))
    return trials


def made_history(trial: MadeTrial, minimizes: bool) -> dict[str, list[float]]:
    """Curves that end in the trial's value."""
    if trial.value is None or not trial.epochs:
        return {}
    last = math.exp(-trial.value) if minimizes else trial.value
    steps = [epoch / trial.epochs for epoch in range(1, trial.epochs + 1)]
    accuracy = [0.1 + (last - 0.1) * (1 - math.exp(-3 * step)) / (1 - math.exp(-3)) for step in steps]
    loss = [-math.log(max(value, 1e-3)) for value in accuracy]
    return {
        "train_loss": [value * 0.9 for value in loss],
        "train_accuracy": [min(value * 1.05, 1.0) for value in accuracy],
        "val_loss": [*loss[:-1], trial.value] if minimizes else loss,
        "val_accuracy": accuracy if minimizes else [*accuracy[:-1], trial.value],
        "lr": [0.1] * trial.epochs,
        "seconds": [2.5] * trial.epochs,
    }


def _frozen(spec: StudySpec, trial: MadeTrial, index: int) -> optuna.trial.FrozenTrial:
    config = spec.space.configuration(lambda name, _: trial.params[name])
    assert set(trial.params) <= set(config), "the trial does not take these knobs"
    if spec.repeats is not None:
        config = config.replaced(seed=spec.first_seed + trial.attrs[attributes.REPEAT] - 1)
    minimizes = spec.objective.direction == "minimize"
    history = made_history(trial, minimizes) if trial.history is None else dict(trial.history)
    figures = history.get("val_loss" if minimizes else "val_accuracy", [])
    intermediate = {epoch: value for epoch, value in enumerate(figures, start=1) if not math.isnan(value)}
    metrics = {**({} if trial.value is None else {spec.objective.metric: trial.value}), **trial.figures}
    several = spec.has_several_objectives
    values = [metrics[each.metric] for each in spec.objectives if each.metric in metrics]
    attrs = {
        attributes.CONFIG: config.stored(),
        attributes.EPOCHS: trial.epochs,
        attributes.SECONDS: 2.5 * trial.epochs,
        attributes.PARAMETERS: trial.figures.get("parameters", 268_650 + index),
        attributes.METRICS: metrics if several or spec.constraints else None,
        attributes.DEVICE: "cpu",
        attributes.PRECISION: "fp32",
        attributes.HISTORY: history,
        attributes.REASON: trial.reason or {"COMPLETE": "completed", "PRUNED": "pruned"}.get(trial.state),
        attributes.ERROR: trial.error,
    }
    judged = violations(spec.constraints, metrics)
    frozen = create_trial(
        state=TrialState[trial.state],
        values=values if values and trial.state in ("COMPLETE", *(() if several else ("PRUNED",))) else None,
        params={name: stored(value) for name, value in trial.params.items()},
        distributions={name: distribution(spec, name) for name in trial.params},
        intermediate_values={} if several else intermediate,
        system_attrs={f"constraints:{name}": broken for name, broken in judged.items()}
        if trial.state != "RUNNING"
        else {},
        user_attrs={name: value for name, value in {**attrs, **trial.attrs}.items() if value is not None},
    )
    if trial.state != "WAITING":
        frozen.datetime_start = STARTED + timedelta(minutes=index)
    if frozen.state.is_finished():
        frozen.datetime_complete = STARTED + timedelta(minutes=index, seconds=2.5 * trial.epochs)
    return frozen


def _draw(name: str, dimension: Dimension, random_: random.Random) -> Value:
    if isinstance(dimension, Choices):
        return random_.choice(dimension.choices)
    if dimension.count is not None:
        value = dimension.low + (dimension.step or 1) * random_.randrange(dimension.count)
        return int(value) if KNOBS[name].kind is Kind.INT else value
    if dimension.log:
        return math.exp(random_.uniform(math.log(dimension.low), math.log(dimension.high)))
    return random_.uniform(dimension.low, dimension.high)


def made_analysis(classes: int = 10, images: int = 1000, size: int = 32) -> Analysis:
    """What an opening would keep of a model that is mostly right, and too sure of itself."""
    draws = np.random.default_rng(0)
    labels = draws.integers(0, classes, images)
    logits = draws.normal(size=(images, classes)) * 2
    logits[np.arange(images), labels] += 5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    pixels = draws.integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    names = tuple(("aeroplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry")[:classes])
    names += tuple(f"class number {index}" for index in range(len(names), classes))
    paths = [f"test/{names[label]}/{index}.png" for index, label in enumerate(labels)]
    return analysed(Predictions(names, labels, probabilities), pixels, paths)


OPENING = Opening(
    opened="2025-03-01T12:00:00+00:00",
    host="here",
    cifar_tune="0.1.0",
    fingerprint="ab" * 32,
    trial=0,
    value=0.8,
    finished_trials=1,
    config={"lr": 0.1, "augment": "none"},
    seed=0,
    epochs=15,
    train_images=50_000,
    device="cpu",
    precision="fp32",
)
"""As earlier versions wrote them: its result was lost."""

RESULT = replace(OPENING, test_images=10_000, test_loss=0.5, test_accuracy=0.9)


def analysed_opening(classes: int = 10, **more: Any) -> Opening:
    """An opening with its result and all that it showed."""
    analysis = made_analysis(classes)
    share = (1000 - analysis.wrong) / 1000
    found = {"test_images": 1000, "test_loss": 0.5, "test_accuracy": share, "steps": 5865, "images": "all", **more}
    return replace(OPENING, **found, analysis=analysis)


def config_of(spec: StudySpec, params: Mapping[str, Value]) -> Configuration:
    """The configuration that these searched values make."""
    return spec.space.configuration(lambda name, _: params[name])
