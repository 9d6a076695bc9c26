"""The best trials are those that looking through all of them would find."""

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from cifar_tune.study.best_trials import KEPT, BestTrials
from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.pareto import minimized, pareto_front
from cifar_tune.study_spec.settings import Objective

_VALUES = [0.3, 0.9, 0.1, 0.9, 0.5, 0.1, 0.7, 0.2]
_ORDER = (3, 0, 1, 2, 7, 5, 4, 6)
"""In which trials end."""


def _trial(number: int, values: list[float], state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    trial = create_trial(values=values, state=state, user_attrs={"config": {"epochs": 1}, "reason": "completed"})
    trial.number = number
    return trial


@pytest.mark.parametrize("maximize", [True, False])
def test_they_are_what_sorting_finds(maximize: bool) -> None:
    best = BestTrials([], [Objective("val_accuracy", "maximize" if maximize else "minimize")], [])
    for number in _ORDER:
        best.add(_trial(number, [_VALUES[number]]))
    sign = -1 if maximize else 1
    ranked = sorted(range(len(_VALUES)), key=lambda number: (sign * _VALUES[number], number))
    assert best.numbers == ranked[:KEPT]
    assert best.best is not None
    assert best.best.number == ranked[0]


def test_of_two_objectives_they_are_the_pareto_front() -> None:
    objectives = [Objective("val_accuracy", "maximize"), Objective("parameters", "minimize")]
    values = [[a, b] for a, b in zip(_VALUES, [5.0, 9.0, 1.0, 9.0, 6.0, 2.0, 4.0, 1.0], strict=True)]
    best = BestTrials([], objectives, [])
    for number in _ORDER:
        best.add(_trial(number, values[number]))
    assert best.numbers == pareto_front([minimized(value, objectives) for value in values])


def test_trials_of_an_earlier_run_count() -> None:
    trials = [_trial(0, [0.5]), _trial(1, [0.9]), _trial(2, [0.99], TrialState.PRUNED)]
    best = BestTrials(trials, [Objective("val_accuracy", "maximize")], [])
    assert best.numbers == [1, 0]


def test_a_trial_that_breaks_a_constraint_is_not_among_them() -> None:
    limit = Constraint("parameters", "<=", 10.0)
    good, bad = _trial(0, [0.5]), _trial(1, [0.9])
    good.set_constraint("parameters", -1.0)
    bad.set_constraint("parameters", 1.0)
    best = BestTrials([good, bad], [Objective("val_accuracy", "maximize")], [limit])
    assert best.numbers == [0]


def test_there_is_none_before_the_first() -> None:
    assert BestTrials([], [Objective("val_accuracy", "maximize")], []).best is None
