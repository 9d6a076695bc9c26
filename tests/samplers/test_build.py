"""Samplers get what the study file says, and draw the same for the same trial, however often a study is continued."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler
from optuna.trial import TrialState

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.samplers.build import Samplers, build_sampler, neutral_sampler
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.settings import SamplerSpec

PARAMETERS = [(name, parameter) for name, choice in SAMPLERS.items() for parameter in choice.parameters]
every_parameter = pytest.mark.parametrize(
    ("name", "parameter"), PARAMETERS, ids=[f"{name}-{parameter.name}" for name, parameter in PARAMETERS]
)
PER_TRIAL = [name for name, choice in SAMPLERS.items() if choice.seeding == "per_trial"]
OWN_DEFAULTS = {("tpe", "multivariate"): True, ("cmaes", "popsize"): 10}
RENAMED = {"deterministic_objective": "deterministic"}
SPACE = {"lr": FloatDistribution(1e-4, 1.0, log=True), "momentum": FloatDistribution(0.1, 0.9, step=0.1)}
MIXED = {**SPACE, "optimizer": CategoricalDistribution(["sgd", "adam", "rmsprop"])}

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def another_value(knob: Knob) -> Any:
    match knob.kind:
        case Kind.BOOL:
            return not knob.default
        case Kind.NAME:
            return next(name for name in sorted(knob.names or ()) if name != knob.default)
        case Kind.INT:
            return knob.default + 1  # type: ignore[operator]
    return 0.25


def kept(sampler: object, parameter: str) -> list[Any]:
    """What the sampler, and the strategies inside of it, keep of a parameter."""
    attribute = f"_{RENAMED.get(parameter, parameter)}"
    found = [vars(sampler)[attribute]] if attribute in vars(sampler) else []
    for name, inner in vars(sampler).items():
        if name.endswith("_strategy"):
            found += kept(inner, parameter)
    return found


def asked(study: optuna.Study, sampler: BaseSampler, space: dict[str, Any]) -> dict[str, Any]:
    study.sampler = sampler
    trial = study.ask()
    for name, distribution in space.items():
        trial._suggest(name, distribution)
    return trial.params


def study_with_history(trials: int, space: dict[str, Any]) -> optuna.Study:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for number in range(trials):
        params = asked(study, RandomSampler(seed=number), space)
        study.tell(number, abs(math.log10(params["lr"]) + 2) + params["momentum"] ** 2, state=TrialState.COMPLETE)
    return study


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_can_be_built(name: str) -> None:
    sampler = build_sampler(SamplerSpec(name), 0)
    assert type(sampler).__name__ == SAMPLERS[name].target.rpartition(":")[2]
    assert SAMPLERS[name].meaning


@every_parameter
def test_parameters_have_optunas_names_and_defaults(name: str, parameter: Knob) -> None:
    signature = inspect.signature(type(build_sampler(SamplerSpec(name), 0)))
    assert parameter.name in signature.parameters
    expected = OWN_DEFAULTS.get((name, parameter.name), signature.parameters[parameter.name].default)
    if parameter.name == "mutation_prob":
        expected = 0.1
    assert parameter.default == expected
    assert parameter.meaning


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_parameter_that_optuna_computes_is_left_to_it(name: str) -> None:
    sampler = build_sampler(SamplerSpec(name), 0)
    assert set(SAMPLERS[name].automatic) <= {parameter.name for parameter in SAMPLERS[name].parameters}
    for parameter in SAMPLERS[name].automatic:
        assert kept(sampler, parameter) == [None]


@every_parameter
def test_a_parameter_arrives_at_optuna(name: str, parameter: Knob) -> None:
    value = parameter.parse(another_value(parameter))
    sampler = build_sampler(SamplerSpec(name, options={parameter.name: value}), 0)
    assert kept(sampler, parameter.name)
    assert set(kept(sampler, parameter.name)) == {value}
    assert set(kept(build_sampler(SamplerSpec(name), 0), parameter.name)) != {value}


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_optuna_does_not_allow_together_is_known(name: str) -> None:
    flags = [parameter.name for parameter in SAMPLERS[name].parameters if parameter.kind is Kind.BOOL]
    defaults = {parameter.name: parameter.default for parameter in SAMPLERS[name].parameters}
    for bits in range(2 ** len(flags)):
        options = {flag: bool(bits >> index & 1) for index, flag in enumerate(flags)}
        clash = any(all(options[flag] == value for flag, value in pair.items()) for pair in SAMPLERS[name].clashes)
        try:
            build_sampler(SamplerSpec(name, options=options), 0)
        except ValueError:
            assert clash, options
        else:
            assert not clash, options
    assert not any(all(defaults[flag] == value for flag, value in pair.items()) for pair in SAMPLERS[name].clashes)


@pytest.mark.parametrize("name", PER_TRIAL)
def test_a_trial_draws_by_its_number(name: str) -> None:
    space = {"momentum": SPACE["momentum"], "dropout": FloatDistribution(0, 0.9, step=0.1)}
    drawn = [
        [asked(optuna.create_study(), build_sampler(SamplerSpec(name, seed=5), number), space) for number in range(12)]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert len({str(params) for params in drawn[0]}) > 8
    other_seed = [asked(optuna.create_study(), build_sampler(SamplerSpec(name, seed=6), n), space) for n in range(12)]
    assert other_seed != drawn[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tpe", {"n_startup_trials": 5}),
        ("cmaes", {"n_startup_trials": 5}),
        ("nsgaii", {"population_size": 5}),
        ("nsgaiii", {"population_size": 5}),
        ("gp", {"n_startup_trials": 5}),
    ],
)
def test_a_trial_that_follows_a_model_draws_by_its_number(name: str, options: dict[str, int]) -> None:
    numbers = (10, 10, 11)
    drawn = [
        asked(study_with_history(10, SPACE), build_sampler(SamplerSpec(name, 1, options), n), SPACE) for n in numbers
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_quasi_random_sequence_goes_on_where_it_was() -> None:
    uninterrupted = optuna.create_study()
    sampler = QMCSampler(seed=3, warn_asynchronous_seeding=False, warn_independent_sampling=False)
    continued = optuna.create_study()
    sequences: list[list[dict[str, Any]]] = [[], []]
    for number in range(9):
        sequences[0].append(asked(uninterrupted, sampler, MIXED))
        sequences[1].append(asked(continued, build_sampler(SamplerSpec("qmc", 3), number), MIXED))
        uninterrupted.tell(number, 0.0)
        continued.tell(number, 0.0)
    assert sequences[0][1:] == sequences[1][1:]  # the first trial is drawn at random: it shows what there is to search
    assert len({str(params) for params in sequences[1]}) == 9
    assert {params["optimizer"] for params in sequences[1]} == {"sgd", "adam", "rmsprop"}


def test_a_quasi_random_sequence_does_not_hold_still_what_lies_outside_of_it() -> None:
    study = optuna.create_study()
    drawn = []
    for number in range(8):
        space = SPACE if number else {"lr": SPACE["lr"]}  # momentum is conditional: the first trial lacks it
        drawn.append(asked(study, build_sampler(SamplerSpec("qmc", 0), number), space).get("momentum"))
        study.tell(number, 0.0)
    assert len(set(drawn[1:])) > 3


def test_grid_tries_every_combination_once_across_continuations() -> None:
    space = {"a": FloatDistribution(0.1, 0.5, step=0.1), "b": CategoricalDistribution([1, 2, 3])}
    study = optuna.create_study()
    seen = []
    for number in range(15):
        seen.append(str(asked(study, build_sampler(SamplerSpec("grid", 1), number), space)))
        study.sampler = neutral_sampler()
        study.tell(number, 0.0)
    assert len(set(seen)) == 15


def test_the_neutral_sampler_ends_trials_without_side_effects() -> None:
    study = optuna.create_study(sampler=neutral_sampler())
    study.tell(study.ask(), 1.0)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    assert study.trials[0].system_attrs == {}


@pytest.mark.parametrize("name", ["gp", "cmaes", "nsgaii", "nsgaiii", "qmc", "random", "tpe"])
def test_nothing_is_said_about_drawing_at_random(name: str, caplog: pytest.LogCaptureFixture) -> None:
    study = study_with_history(3, MIXED)
    with caplog.at_level("WARNING"):
        optuna.logging.enable_propagation()
        try:
            asked(study, build_sampler(SamplerSpec(name), 3), MIXED)
        finally:
            optuna.logging.disable_propagation()
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize("name", ["tpe", "cmaes", "random"])
def test_passing_on_what_is_known_of_the_space_changes_no_draw(name: str) -> None:
    """Trials that run, that end later, and one that lacks a knob: the common space shrinks on the way."""

    def drawn(build: Callable[[int], BaseSampler]) -> list[dict[str, Any]]:
        study = study_with_history(12, MIXED)
        pending: list[int] = []
        found = []
        for number in range(12, 36):
            space = SPACE if number == 20 else MIXED
            found.append(asked(study, build(number), space))
            pending.append(number)
            study.sampler = neutral_sampler()
            if number % 3 == 0:
                study.tell(pending.pop(0), found[-1]["lr"])
        return found

    spec = SamplerSpec(name, 1, {} if name == "random" else {"n_startup_trials": 3})
    assert drawn(Samplers(spec).next) == drawn(lambda number: build_sampler(spec, number))


def test_what_is_known_of_the_space_is_passed_on() -> None:
    samplers = Samplers(SamplerSpec("tpe"))
    first, second = samplers.next(0), samplers.next(1)
    assert first is not second
    assert vars(first)["_search_space"] is vars(second)["_search_space"]
