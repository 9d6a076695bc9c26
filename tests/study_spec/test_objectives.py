"""Several objectives, constraints, and what they ask of sampler and pruner."""

import math

import pytest

from cifar_tune.study_spec.constraints import UNKNOWN, Constraint, violations
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.metrics import METRICS, Measured
from cifar_tune.study_spec.pareto import minimized, pareto_front
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.settings import Objective
from cifar_tune.training.results import EpochResult

from .reading import only_problem, read, refused

TWO = "objective: [{metric: val_accuracy}, {metric: parameters}]\n"
GRID = "search_space: {width: {choices: [8, 16]}}\ntrain: {model: cnn3}\n"


def test_two_objectives_and_constraints_are_read_and_kept() -> None:
    spec = read(f"{TWO}constraints: [parameters <= 3e5, val_accuracy >= 0.6]").spec
    assert spec.objectives == (Objective("val_accuracy", "maximize"), Objective("parameters", "minimize"))
    assert spec.objective == spec.objectives[0]
    assert spec.constraints == (Constraint("parameters", "<=", 3e5), Constraint("val_accuracy", ">=", 0.6))
    plain = spec.plain()
    assert plain["objective"] == [
        {"metric": "val_accuracy", "direction": "maximize"},
        {"metric": "parameters", "direction": "minimize"},
    ]
    assert plain["constraints"] == ["parameters <= 300000", "val_accuracy >= 0.6"]


def test_what_differs_is_said_in_full() -> None:
    one, two = read("constraints: [flops <= 5]").spec, read(f"{TWO}constraints: [flops <= 6]").spec
    shown = [str(each) for each in differences(one, two)]
    assert "constraints: ['flops <= 5'] -> ['flops <= 6']" in shown
    assert "objective.metric: removed (was 'val_accuracy')" in shown
    assert "objective[1].metric: added 'parameters'" in shown
    assert not differences(read("constraints: [flops <= 5e0]").spec, one)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[{metric: flops}, {metric: flops}]", "objective[1]: flops is an objective already"),
        ("[{}, {metric: val_accuracy}]", "objective[1]: val_accuracy is an objective already"),
        ("[{}, {metric: flops}, {metric: val_loss}, {metric: parameters}]", "objective: must hold 1 to 3 objectives"),
        ("[{metric: flops}, {metric: flop}]", "objective[1].metric = 'flop': must be"),
        ("[{}, {metric: flops, direction: maximize}]", "objective[1].direction = 'maximize': flops is there to"),
    ],
)
def test_refused_lists_of_objectives(given: str, message: str) -> None:
    assert message in only_problem(f"objective: {given}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("parameter <= 3e5", "parameter is no metric (did you mean 'parameters <= 3e5'?)"),
        ("beauty <= 3", "beauty is no metric; metrics: val_accuracy, best_val_accuracy"),
        ("speed <= 3", "speed is no metric (did you mean 'seconds_per_epoch <= 3'?)"),
        ("parameters < 3e5", "must compare by <= or >= (did you mean 'parameters <= 3e5'?)"),
        ("val_accuracy > 0.5", "(did you mean 'val_accuracy >= 0.5'?)"),
        ("flops = 3", "must compare by <= or >= (did you mean 'flops <= 3'?)"),
        ("flops ≤ 3", "(did you mean 'flops <= 3'?)"),
        ("3e5 >= parameters", "the metric comes first (did you mean 'parameters <= 3e5'?)"),
        ("val_accuracy >= 60", "is a fraction from 0 to 1 (did you mean 'val_accuracy >= 0.6'?)"),
        ("val_accuracy >= 600", "is a fraction from 0 to 1"),
        ("val_loss <= -1", "val_loss is never below 0"),
        ("flops <= many", "many is no number"),
        ("flops <= nan", "nan is no number"),
        ("flops <= 1e999", "1e999 is no number"),
        ("flops <= 1 <= 2", "must be a metric, <= or >=, and a number, such as parameters <= 300000"),
        ("flops", "must be a metric, <= or >=, and a number"),
    ],
)
def test_refused_constraints(given: str, message: str) -> None:
    shown = only_problem(f"constraints: ['{given}']")
    assert shown.startswith(f"study.yaml:2: constraints[0] = {given!r}: ")
    assert message in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("5", "constraints = 5: must be a list such as [parameters <= 300000, val_accuracy >= 0.6]"),
        ("{parameters: 5}", "must be a list such as"),
        ("[5]", "constraints[0] = 5: must be a metric"),
        (
            "[flops <= 2, flops <= 3]",
            "constraints[1] = 'flops <= 3': there is one of the same kind already: flops <= 2",
        ),
        ("[flops <= 2, flops >= 3]", "constraints[1] = 'flops >= 3': no value keeps this and flops <= 2"),
        ("[flops >= 3, flops <= 2]", "constraints[1] = 'flops <= 2': no value keeps this and flops >= 3"),
    ],
)
def test_refused_lists_of_constraints(given: str, message: str) -> None:
    assert message in only_problem(f"constraints: {given}")


def test_a_band_may_be_asked_for() -> None:
    assert len(read("constraints: [flops >= 2, flops <= 2]").spec.constraints) == 2
    assert read("constraints:").spec.constraints == ()


@pytest.mark.parametrize(
    ("given", "pruner"),
    [
        (TWO, "none"),
        ("objective: {metric: parameters}", "none"),
        ("objective: {metric: flops}", "none"),
        ("objective: {metric: epochs_to_best}", "none"),
        ("objective: {metric: seconds_per_epoch}", "promotion"),
        ("objective: {metric: val_loss}", "promotion"),
        ("budget: {trials: 20}", "promotion"),
        ("budget: {trials: 19}", "median"),
        ("deterministic: 4", "median"),
        ("pruner: {n_warmup_steps: 1}", "median"),
    ],
)
def test_the_pruner_that_nobody_named(given: str, pruner: str) -> None:
    assert read(given).spec.pruner.name == pruner


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        ("[{metric: val_loss}, {metric: flops}]", "pruners compare trials by one value per epoch"),
        ("{metric: flops}", "it is the same after every epoch, so it would stop a trial at once or never"),
        ("{metric: epochs_to_best}", "it grows as long as a trial improves"),
    ],
)
@pytest.mark.parametrize("pruner", ["{name: median}", "{name: hyperband}", "{n_warmup_steps: 1}"])
def test_pruners_that_cannot_judge_are_refused(objective: str, reason: str, pruner: str) -> None:
    shown = only_problem(f"objective: {objective}\npruner: {pruner}")
    assert "pruner.name = " in shown
    assert "must be none: " in shown
    assert reason in shown
    assert read(f"objective: {objective}\npruner: {{name: none}}").spec.pruner.name == "none"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_cmaes_cannot_take_several_objectives(sampler: str) -> None:
    text = f"{TWO}{GRID}sampler: {{name: {sampler}}}"
    if sampler == "cmaes":
        assert "sampler.name = 'cmaes': handles one objective only, and here are 2; use tpe, gp" in str(
            refused(text)[0]
        )
    else:
        assert read(text).spec.sampler.name == sampler


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_that_ignore_constraints_say_so(sampler: str) -> None:
    notes = read(f"{GRID}sampler: {{name: {sampler}}}\nconstraints: [flops <= 5]").notes
    told = any("does not look for trials that keep the constraints" in note for note in notes)
    assert told == (sampler in ("cmaes", "qmc", "grid", "random"))


def test_violations_are_shares_of_the_limit() -> None:
    few, good = Constraint("parameters", "<=", 200.0), Constraint("val_accuracy", ">=", 0.5)
    assert violations((few, good), {"parameters": 250, "val_accuracy": 0.6}) == {
        "parameters <= 200": 0.25,
        "val_accuracy >= 0.5": pytest.approx(-0.2),
    }
    assert violations((few, good), {"parameters": 200})["parameters <= 200"] == 0
    assert violations((good,), {}) == {"val_accuracy >= 0.5": UNKNOWN}
    assert good.violation(0.0) == UNKNOWN
    assert Constraint("val_loss", "<=", 0.0).violation(0.25) == 0.25


def test_metrics_of_a_training() -> None:
    seconds, accuracies = (9.0, 1.0, 5.0, 2.0), (0.2, 0.6, 0.6, 0.3)
    results = [
        EpochResult(index + 1, 1.0, 0.5, 1 - accuracy, accuracy, 0.1, second)
        for index, (second, accuracy) in enumerate(zip(seconds, accuracies, strict=True))
    ]
    found = {name: metric.value(Measured(results, 1000, 50)) for name, metric in METRICS.items()}
    assert found == {
        "val_accuracy": 0.3, "best_val_accuracy": 0.6, "val_loss": 0.7, "best_val_loss": 0.4, "parameters": 1000,
        "flops": 50, "seconds_per_epoch": 2.0, "epochs_to_best": 2,
    }  # fmt: skip
    assert METRICS["seconds_per_epoch"].value(Measured(results[:1], 1, 1)) == 9.0
    assert METRICS["parameters"].exact(1000.0) == "1000"


def test_the_front_is_what_nothing_dominates() -> None:
    objectives = (Objective("val_accuracy", "maximize"), Objective("parameters", "minimize"))
    values = [(0.9, 50), (0.8, 50), (0.5, 10), (0.9, 50), (0.7, 20), (0.6, 30), (0.7, 21), (0.95, math.inf)]
    assert pareto_front([minimized(each, objectives) for each in values]) == [7, 0, 3, 4, 2]
    assert pareto_front([(3.0,), (1.0,), (1.0,)]) == [1, 2]
    assert pareto_front([]) == []
    assert pareto_front([(1, 2, 3), (3, 2, 1), (2, 2, 2), (2, 3, 2)]) == [0, 2, 1]
