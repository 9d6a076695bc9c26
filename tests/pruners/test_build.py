"""Pruners get what the study file says, under Optuna's own names."""

import inspect
import random
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import TrialState

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.metrics import Direction
from cifar_tune.pruners.build import build_pruner
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.settings import PrunerSpec
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import read_yaml
from tests.exhaustive import few_of

REQUIRED: dict[str, dict[str, Any]] = {
    "percentile": {"percentile": 25.0},
    "patient": {"patience": 2},
    "threshold": {"lower": 0.1, "upper": 0.9},
}
OPTUNAS = {name: choice for name, choice in PRUNERS.items() if not choice.promotes}
PARAMETERS = [(name, parameter) for name, choice in OPTUNAS.items() for parameter in choice.parameters]
every_parameter = pytest.mark.parametrize(
    ("name", "parameter"), PARAMETERS, ids=[f"{name}-{parameter.name}" for name, parameter in PARAMETERS]
)
EPOCHS = 27
OTHER = {"percentile": 60.0, "lower": 0.3, "upper": 0.7, "min_delta": 0.3, "n_min_trials": 20}
"""Values of parameters for which a default and three is not another world."""
THEIRS: dict[str, Callable[..., BasePruner]] = {
    "median": MedianPruner,
    "percentile": PercentilePruner,
    "asha": SuccessiveHalvingPruner,
    "hyperband": partial(HyperbandPruner, max_resource=EPOCHS),
    "patient": partial(PatientPruner, None),
    "threshold": ThresholdPruner,
    "none": NopPruner,
}
"""All but `promotion`, which the study does itself: see `tests/study/test_promotion.py`."""

OWN_DEFAULTS = {("asha", "min_resource"): 1}  # Optuna's `auto` prunes nothing before the first trial completes

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def built(name: str, **options: Any) -> BasePruner:
    return build_pruner(PrunerSpec(name, REQUIRED.get(name, {}) | options), EPOCHS)


def theirs(name: str, **options: Any) -> BasePruner:
    """Optuna's own, with its own defaults but where ours are others."""
    defaults = {parameter: value for (pruner, parameter), value in OWN_DEFAULTS.items() if pruner == name}
    pruner: BasePruner = THEIRS[name](**defaults | options)
    return pruner


def read(text: str) -> StudySpec:
    return read_study(read_yaml(f"name: made\n{text}"), "study.yaml").spec


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_can_be_built(name: str) -> None:
    assert type(built(name)).__name__ == PRUNERS[name].target.rpartition(":")[2]
    assert PRUNERS[name].meaning


@every_parameter
def test_parameters_have_optunas_names_and_defaults(name: str, parameter: Knob) -> None:
    signature = inspect.signature(type(built(name)))
    assert parameter.name in signature.parameters
    default = signature.parameters[parameter.name].default
    assert (default is inspect.Parameter.empty) == (parameter.name in PRUNERS[name].required)
    if parameter.name not in (*PRUNERS[name].required, "lower", "upper"):
        assert parameter.default == OWN_DEFAULTS.get((name, parameter.name), default)
    assert parameter.meaning


def verdicts(pruner: BasePruner) -> list[tuple[int, int]]:
    """Which trials it stops and after which epoch, of 60 whose values go up and down between 0 and 1."""
    study = optuna.create_study(study_name="brackets", direction="maximize", pruner=pruner)
    draw = random.Random(5)  # noqa: S311
    stopped = []
    for number in range(60):
        trial, quality = study.ask(), draw.random()
        for epoch in range(1, EPOCHS + 1):
            trial.report((quality + draw.random()) / 2, epoch)
            if trial.should_prune():
                stopped.append((number, epoch))
                break
        study.tell(trial, state=TrialState.PRUNED) if (number, epoch) in stopped else study.tell(trial, quality)
    return stopped


@every_parameter
def test_a_parameter_does_what_it_does_in_optuna(name: str, parameter: Knob) -> None:
    value = OTHER.get(parameter.name, parameter.default + 3)  # type: ignore[operator]
    options = {**REQUIRED.get(name, {}), parameter.name: value}
    ours = verdicts(built(name, **{parameter.name: parameter.parse(value)}))
    assert ours == verdicts(theirs(name, **options))
    assert ours != verdicts(built(name)), "it changes nothing here, so that nobody knows whether it arrived"


@pytest.mark.parametrize("name", OPTUNAS)
def test_without_options_it_is_optunas_own(name: str) -> None:
    assert verdicts(built(name)) == verdicts(theirs(name, **REQUIRED.get(name, {})))
    assert (verdicts(built(name)) == []) == (name == "none")


@pytest.mark.parametrize("options", [{"lower": 0.2}, {"upper": 0.2}])
def test_a_threshold_may_have_one_side(options: dict[str, Any]) -> None:
    ours = verdicts(build_pruner(PrunerSpec("threshold", options), EPOCHS))
    assert ours == verdicts(ThresholdPruner(**options))
    assert ours != verdicts(ThresholdPruner(lower=0.2, upper=0.2))


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("train: {epochs: 9}", 9),
        ("search_space: {epochs: {low: 3, high: 27, step: 3}}", 27),
        ("search_space: {epochs: {choices: [81, 3]}}", 81),
        ("search_space: {epochs: {choices: [3, 5], when: {model: cnn3}}}", 5),
        ("search_space: {epochs: {choices: [3, 5], when: {model: cnn2}}, model: {choices: [cnn2, cnn3]}}", 15),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_hyperband_is_told_the_largest_reachable_epochs(text: str, epochs: int, wrapped: bool) -> None:
    given = "{name: hyperband, min_resource: 2}"
    spec = read(
        f"{text}\npruner: {'{name: patient, patience: 1, wrapped_pruner: ' + given + '}' if wrapped else given}"
    )
    hyperband = HyperbandPruner(min_resource=2, max_resource=epochs, reduction_factor=3)
    expected = verdicts(PatientPruner(hyperband, patience=1) if wrapped else hyperband)
    assert verdicts(build_pruner(spec.pruner, spec.largest_epochs)) == expected
    more = HyperbandPruner(min_resource=2, max_resource=9 * epochs, reduction_factor=3)
    assert expected != verdicts(PatientPruner(more, patience=1) if wrapped else more)


def test_patient_wraps_another() -> None:
    spec = read("pruner: {name: patient, patience: 1, min_delta: 0.1, wrapped_pruner: {n_warmup_steps: 4}}")
    median = MedianPruner(n_warmup_steps=4)
    ours = verdicts(build_pruner(spec.pruner, EPOCHS))
    assert ours == verdicts(PatientPruner(median, patience=1, min_delta=0.1))
    others = [PatientPruner(MedianPruner(), 1, 0.1), PatientPruner(median, 2, 0.1), PatientPruner(median, 1), median]
    assert ours not in [verdicts(other) for other in others]


def test_patient_may_wrap_nothing() -> None:
    ours = verdicts(build_pruner(read("pruner: {name: patient, patience: 3}").pruner, EPOCHS))
    assert ours == verdicts(PatientPruner(None, patience=3))
    assert ours


@pytest.mark.parametrize("name", [name for name in OPTUNAS if name != "none"])
def test_the_largest_parameters_that_are_accepted_can_be_used(name: str) -> None:
    options = {
        parameter.name: int(parameter.high)
        for parameter in PRUNERS[name].parameters
        if parameter.kind is Kind.INT and parameter.name != "min_resource"
    }
    study = optuna.create_study(pruner=built(name, **options))
    for _ in range(3):
        trial = study.ask()
        for epoch in (1, 2, 27):
            trial.report(0.5, epoch)
            trial.should_prune()
        study.tell(trial, 0.5)
    assert len(study.trials) == 3


@pytest.mark.parametrize(("bound", "stopped"), [("lower", [-5.0]), ("upper", [5.0])])
def test_a_threshold_without_the_other_bound_has_none(bound: str, stopped: list[float]) -> None:
    study = optuna.create_study(pruner=build_pruner(PrunerSpec("threshold", {bound: 0.5}), EPOCHS))
    found = []
    for value in (-5.0, 5.0):  # losses are often above 1
        trial = study.ask()
        trial.report(value, 1)
        found += [value] if trial.should_prune() else []
    assert found == stopped


def test_the_first_rung_is_reached_at_min_resource() -> None:
    pruner = built("asha", min_resource=2, reduction_factor=2)
    assert isinstance(pruner, SuccessiveHalvingPruner)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    pruned_at = []
    for value in (0.9, 0.1):
        trial = study.ask()
        for epoch in range(1, 5):
            trial.report(value, epoch)
            if trial.should_prune():
                pruned_at.append(epoch)
                break
        study.tell(trial, value)
    assert pruned_at == [2]


def test_hyperband_has_the_brackets_of_optuna_and_draws_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = build_pruner(PrunerSpec(name="hyperband"), 27)
    theirs = HyperbandPruner(max_resource=27)
    draws = Mock(side_effect=zlib.crc32)
    studies = {pruner: optuna.create_study(study_name="brackets", pruner=pruner) for pruner in (ours, theirs)}
    verdicts: dict[object, list[tuple[int, bool]]] = {ours: [], theirs: []}
    for pruner, study in studies.items():
        if pruner is ours:
            monkeypatch.setattr("optuna.pruners._hyperband.binascii.crc32", draws)
        for number in range(60):
            trial = study.ask()
            for epoch in range(1, 28):
                trial.report((number * 37 % 60) / 60 + epoch / 100, epoch)
                verdicts[pruner].append((number, trial.should_prune()))
                if verdicts[pruner][-1][1]:
                    break
            study.tell(trial, state=TrialState.PRUNED)
        monkeypatch.undo()

    assert verdicts[ours] == verdicts[theirs]
    assert any(pruned for _, pruned in verdicts[ours])
    assert draws.call_count == 60


@pytest.mark.parametrize("name", ["asha", "hyperband"])
@pytest.mark.parametrize("direction", few_of(["maximize", "minimize"], ["maximize"]))
def test_halving_gives_optunas_verdicts_whatever_other_trials_do_meanwhile(name: str, direction: Direction) -> None:
    """Trials side by side, in no order; some are parked, end elsewhere with rungs, or report what is not a number."""
    options = {"bootstrap_count": 2, "reduction_factor": 2}
    found = []
    for pruner in (built(name, **options), theirs(name, **options)):
        study = optuna.create_study(study_name="side by side", direction=direction, pruner=pruner)
        draw = random.Random(3)  # noqa: S311
        running: list[tuple[optuna.Trial, int]] = []
        verdicts = []
        while len(study.trials) < 80 or running:
            if len(running) < 8 and len(study.trials) < 80:
                running.append((study.ask(), 1))
            trial, epoch = running.pop(draw.randrange(len(running)))
            trial.report(float("nan") if draw.random() < 0.02 else round(draw.random(), 1), epoch)
            verdicts.append(trial.should_prune())
            if verdicts[-1]:
                study.tell(trial, state=TrialState.PRUNED)
            elif draw.random() < 0.03:
                study.tell(trial, state=TrialState.FAIL)
            elif epoch == EPOCHS:
                study.tell(trial, draw.random())
            else:
                running.append((trial, epoch + 1))
        rungs = [dict(trial.system_attrs) for trial in study.trials]
        found.append((verdicts, rungs))
    assert found[0] == found[1]
    assert 10 < sum(found[0][0]) < 80
