"""A trial that runs out of patience is complete, with fewer epochs; that is no pruning."""

from typing import Any

import pytest

from .conftest import RunStudy
from .scripted import Script

NO_PROGRESS_AFTER_2 = Script(curve=lambda config, epoch: [0.2, 0.3, 0.1, 0.25, 0.1, 0.9][epoch - 1])


def study(patience: int, pruner: dict[str, Any], **objective: str) -> dict[str, Any]:
    return {
        "budget": {"trials": 1},
        "pruner": pruner,
        "objective": objective,
        "train": {"epochs": 6, "patience": patience},
        "search_space": {"lr": {"low": 0.1, "high": 0.2}},
    }


@pytest.mark.parametrize(("patience", "epochs", "value"), [(0, 6, 0.9), (2, 4, 0.25), (3, 5, 0.1), (4, 6, 0.9)])
def test_it_completes_with_the_objective_of_its_last_epoch(
    run_scripted: RunStudy, patience: int, epochs: int, value: float
) -> None:
    ending, record, _ = run_scripted(study(patience, {"name": "none"}), NO_PROGRESS_AFTER_2)
    (trial,) = record.trials
    assert ending == "budget"
    assert (trial.state, trial.reason, trial.epochs, trial.value) == ("COMPLETE", "completed", epochs, value)
    assert sorted(trial.intermediate) == list(range(1, epochs + 1))


def test_the_best_epoch_is_an_objective_too(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(study(2, {"name": "none"}, metric="best_val_accuracy"), NO_PROGRESS_AFTER_2)
    assert record.trials[0].value == 0.3


@pytest.mark.parametrize(("patience", "state"), [(2, "COMPLETE"), (3, "PRUNED")])
def test_nothing_is_pruned_that_is_over_anyway(run_scripted: RunStudy, patience: int, state: str) -> None:
    pruner = {"name": "threshold", "lower": 0.5, "n_warmup_steps": 4}
    _, record, _ = run_scripted(study(patience, pruner), NO_PROGRESS_AFTER_2)
    assert (record.trials[0].state, record.trials[0].epochs) == (state, 4)


def test_a_trial_parked_at_its_last_epoch_completes_when_it_is_taken_up(run_scripted: RunStudy) -> None:
    plain = study(2, {"name": "none"})
    ending, record, _ = run_scripted(plain, NO_PROGRESS_AFTER_2, stop_after=4)
    assert (ending, record.finished) == ("interrupted", 0)
    ending, record, _ = run_scripted(plain, NO_PROGRESS_AFTER_2)
    assert (ending, record.trials[0].state, record.trials[0].epochs) == ("budget", "COMPLETE", 4)
