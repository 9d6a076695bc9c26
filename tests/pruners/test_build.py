"""Pruners get what the study file says, under Optuna's own names."""

import inspect
import zlib
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, PatientPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.pruners.build import build_pruner
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.settings import PrunerSpec
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import read_yaml

REQUIRED: dict[str, dict[str, Any]] = {
    "percentile": {"percentile": 25.0},
    "patient": {"patience": 2},
    "threshold": {"lower": 0.1, "upper": 0.9},
}
PARAMETERS = [(name, parameter) for name, choice in PRUNERS.items() for parameter in choice.parameters]
every_parameter = pytest.mark.parametrize(
    ("name", "parameter"), PARAMETERS, ids=[f"{name}-{parameter.name}" for name, parameter in PARAMETERS]
)
OWN_DEFAULTS = {("asha", "min_resource"): 1}  # Optuna's `auto` prunes nothing before the first trial completes

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def built(name: str, **options: Any) -> Any:
    return build_pruner(PrunerSpec(name, REQUIRED.get(name, {}) | options), 27)


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


@every_parameter
def test_a_parameter_arrives_at_optuna(name: str, parameter: Knob) -> None:
    value = 0.3 if parameter.kind is Kind.FLOAT else parameter.default + 1  # type: ignore[operator]
    pruner = built(name, **{parameter.name: parameter.parse(value)})
    assert vars(pruner)[f"_{parameter.name}"] == value
    assert vars(built(name))[f"_{parameter.name}"] != value


@pytest.mark.parametrize("name", [name for name in PRUNERS if name not in ("patient", "none", "threshold")])
def test_defaults_arrive_at_optuna(name: str) -> None:
    for parameter in PRUNERS[name].parameters:
        assert vars(built(name))[f"_{parameter.name}"] == parameter.default


@pytest.mark.parametrize(
    ("options", "bounds"), [({"lower": 0.2}, (0.2, float("inf"))), ({"upper": 0.2}, (-float("inf"), 0.2))]
)
def test_a_threshold_may_have_one_side(options: dict[str, Any], bounds: tuple[float, float]) -> None:
    pruner: Any = build_pruner(PrunerSpec("threshold", options), 27)
    assert (pruner._lower, pruner._upper) == bounds


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
    pruner: Any = build_pruner(spec.pruner, spec.largest_epochs)
    hyperband = pruner._wrapped_pruner if wrapped else pruner
    assert isinstance(hyperband, HyperbandPruner)
    assert (hyperband._min_resource, hyperband._max_resource) == (2, epochs)


def test_patient_wraps_another() -> None:
    spec = read("pruner: {name: patient, patience: 3, min_delta: 0.01, wrapped_pruner: {n_warmup_steps: 4}}")
    pruner: Any = build_pruner(spec.pruner, 27)
    assert isinstance(pruner, PatientPruner)
    assert (pruner._patience, pruner._min_delta) == (3, 0.01)
    assert isinstance(pruner._wrapped_pruner, MedianPruner)
    assert pruner._wrapped_pruner._n_warmup_steps == 4


def test_patient_may_wrap_nothing() -> None:
    pruner: Any = build_pruner(read("pruner: {name: patient, patience: 3}").pruner, 27)
    assert pruner._wrapped_pruner is None


@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "none"])
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
