"""The best trials are those that sorting all of them would find."""

import pytest
from optuna.trial import TrialState, create_trial

from cifar_tune.study.best_trials import KEPT, BestTrials


@pytest.mark.parametrize("maximize", [True, False])
def test_they_are_what_sorting_finds(maximize: bool) -> None:
    values = [0.3, 0.9, 0.1, 0.9, 0.5, 0.1, 0.7, 0.2]
    best = BestTrials([], maximize)
    for number in (3, 0, 1, 2, 7, 5, 4, 6):  # in the order in which they end
        best.add(number, values[number])
    ranked = sorted(range(len(values)), key=lambda number: (values[number], -number), reverse=True)
    if not maximize:
        ranked = sorted(range(len(values)), key=lambda number: (values[number], number))
    assert best.numbers == frozenset(ranked[:KEPT])
    assert best.best == (ranked[0], values[ranked[0]])


def test_trials_of_an_earlier_run_count() -> None:
    trials = [create_trial(value=0.5), create_trial(value=0.9), create_trial(value=0.99, state=TrialState.PRUNED)]
    for number, trial in enumerate(trials):
        trial.number = number
    best = BestTrials(trials, maximize=True)
    assert best.best == (1, 0.9)
    assert best.numbers == {0, 1}


def test_there_is_none_before_the_first() -> None:
    assert BestTrials([], maximize=True).best is None
