"""Where trials are of different length, the longest of the last ones begin first."""

from typing import Any

import pytest

from .conftest import RunStudy
from .scripted import Script, ScriptedExecutors

WORKERS = 4
TRIALS = 40
LAST = 8  # two per worker; a fifth of all

PLAIN: dict[str, Any] = {
    "budget": {"trials": TRIALS},
    "sampler": {"name": "random", "seed": 3},
    "pruner": {"name": "none"},
    "train": {"epochs": 2, "model": "cnn3"},
    "search_space": {
        "lr": {"low": 1e-3, "high": 0.1, "log": True},
        "width": {"choices": [8, 16, 32, 64]},
        "optimizer": {"choices": ["sgd", "adamw"]},
    },
}


def pool(seconds_by_width: bool = True, workers: int = WORKERS) -> ScriptedExecutors:
    script = Script(seconds=lambda config: config.integer("width") ** 1.5 if seconds_by_width else 1.0)
    return ScriptedExecutors(script, workers)


def numbers(executors: ScriptedExecutors) -> list[int]:
    return [job.number for job in executors.jobs]


def test_the_longest_of_the_last_trials_begin_first(run_scripted: RunStudy) -> None:
    executors = pool()

    ending, record, _ = run_scripted(PLAIN, executors=executors)

    assert ending == "budget"
    assert [trial.state for trial in record.trials] == ["COMPLETE"] * TRIALS
    assert numbers(executors)[:-LAST] == list(range(TRIALS - LAST))
    assert sorted(numbers(executors)[-LAST:]) == list(range(TRIALS - LAST, TRIALS))
    widths = [job.config["width"] for job in executors.jobs[-LAST:]]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) > 1


def test_longer_training_counts_as_well_as_slower_epochs(run_scripted: RunStudy) -> None:
    executors = pool(seconds_by_width=False)
    space = PLAIN["search_space"] | {"epochs": {"choices": [1, 2, 4, 8]}}

    run_scripted(PLAIN | {"train": {"model": "cnn3"}, "search_space": space}, executors=executors)

    epochs = [job.config["epochs"] for job in executors.jobs[-LAST:]]
    assert epochs == sorted(epochs, reverse=True)
    assert len(set(epochs)) > 1


@pytest.mark.parametrize("why", ["equal lengths", "one worker", "batches", "few trials"])
def test_elsewhere_trials_begin_as_they_are_drawn(run_scripted: RunStudy, why: str) -> None:
    executors = pool(why != "equal lengths", 1 if why == "one worker" else WORKERS)
    others: dict[str, dict[str, Any]] = {"batches": {"deterministic": 4}, "few trials": {"budget": {"trials": 9}}}

    _, record, _ = run_scripted(PLAIN | others.get(why, {}), executors=executors)

    assert numbers(executors) == list(range(len(record.trials)))


def test_those_that_have_not_begun_wait_when_the_study_is_interrupted(run_scripted: RunStudy) -> None:
    executors = pool()

    ending, record, recorder = run_scripted(PLAIN, executors=executors, stop_after=2 * (TRIALS - LAST) + 1)

    assert ending == "interrupted"
    begun = {number for number, *_ in recorder.epochs}
    untouched = [trial for trial in record.trials if trial.number not in begun and trial.number < TRIALS]
    assert untouched
    assert {trial.state for trial in record.trials[-LAST:]} <= {"WAITING", "COMPLETE"}

    again = pool()
    ending, after, _ = run_scripted(PLAIN, executors=again)

    assert ending == "budget"
    assert [trial.state for trial in after.trials] == ["COMPLETE"] * TRIALS
    assert [trial.params for trial in after.trials] == [trial.params for trial in record.trials]


def test_a_grid_still_has_every_combination_once(run_scripted: RunStudy) -> None:
    executors = pool()
    space = {"width": {"choices": [8, 16, 32, 64]}, "batch_size": {"choices": [16, 32, 64, 128, 256]}}
    grid: dict[str, Any] = {"sampler": {"name": "grid"}, "search_space": space, "budget": {"trials": 20}}

    _, record, _ = run_scripted(PLAIN | grid, executors=executors)

    assert len({(trial.params["width"], trial.params["batch_size"]) for trial in record.trials}) == 20
    assert sorted(numbers(executors)) == list(range(20))
    assert numbers(executors) != list(range(20))
