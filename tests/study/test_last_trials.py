"""Where trials are of different length, the longest of the last ones begin first."""

from itertools import count
from typing import Any

import optuna
import pytest

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.page.timeline import spans
from cifar_tune.storage.records import load_record
from cifar_tune.study import last_trials
from tests.exhaustive import few_of

from .conftest import RunStudy
from .scripted import Script, ScriptedExecutors

WORKERS = 4
TRIALS = 26
LAST = 8  # two per worker
ORDER = "the last trials begin longest first, not by their numbers"

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


def pool(seconds_by_width: bool = True, workers: int = WORKERS, **script: Any) -> ScriptedExecutors:
    def seconds(config: Configuration) -> float:
        return float(config.integer("width") ** 1.5) if seconds_by_width else 1.0

    return ScriptedExecutors(Script(seconds=seconds, **script), workers)


def numbers(executors: ScriptedExecutors) -> list[int]:
    return [job.number for job in executors.jobs]


def assert_longest_first(values: list[Any]) -> None:
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 1


def last_widths(executors: ScriptedExecutors, last: int = LAST) -> list[Any]:
    return [job.config["width"] for job in executors.jobs[-last:]]


@pytest.mark.parametrize("sampler", few_of(["random", "tpe", "qmc", "nsgaii"], ["tpe"]))
def test_the_longest_of_the_last_trials_begin_first(run_scripted: RunStudy, sampler: str) -> None:
    executors = pool()

    ending, record, seen = run_scripted(PLAIN | {"sampler": {"name": sampler, "seed": 3}}, executors=executors)

    assert ending == "budget"
    assert [trial.state for trial in record.trials] == ["COMPLETE"] * TRIALS
    assert numbers(executors)[:-LAST] == list(range(TRIALS - LAST))
    assert sorted(numbers(executors)[-LAST:]) == list(range(TRIALS - LAST, TRIALS))
    assert_longest_first(last_widths(executors))
    assert sum(ORDER in note for note in seen.notes) == 1, "whoever reads the numbers in the log is told why, once"


def test_longer_training_counts_as_well_as_slower_epochs(run_scripted: RunStudy) -> None:
    executors = pool(seconds_by_width=False)
    space = PLAIN["search_space"] | {"epochs": {"choices": [1, 2, 4, 8]}}

    run_scripted(PLAIN | {"train": {"model": "cnn3"}, "search_space": space}, executors=executors)

    assert_longest_first([job.config["epochs"] for job in executors.jobs[-LAST:]])


@pytest.mark.parametrize(
    "why",
    few_of(["equal lengths", "one worker", "batches", "many trials", "gp"], ["equal lengths", "batches"]),
)
def test_elsewhere_trials_begin_as_they_are_drawn(
    run_scripted: RunStudy, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    executors = pool(why != "equal lengths", 1 if why == "one worker" else WORKERS)
    if why == "many trials":
        monkeypatch.setattr(last_trials, "_MOST_PER_WORKER", 6)
    others: dict[str, dict[str, Any]] = {
        "batches": {"deterministic": 4},
        "gp": {"sampler": {"name": "gp"}, "budget": {"trials": 16}},
    }

    _, record, seen = run_scripted(PLAIN | others.get(why, {}), executors=executors)

    assert numbers(executors) == list(range(len(record.trials)))
    assert not any(ORDER in note for note in seen.notes)


def test_one_slow_trial_does_not_make_lengths_differ(run_scripted: RunStudy) -> None:
    epochs = count()
    executors = ScriptedExecutors(Script(seconds=lambda config: 9.0 if next(epochs) == 0 else 1.0), WORKERS)

    run_scripted(PLAIN, executors=executors)

    assert numbers(executors) == list(range(TRIALS))


def test_at_most_a_third_of_the_trials_is_drawn_together(run_scripted: RunStudy) -> None:
    executors = pool(workers=10)

    run_scripted(PLAIN | {"budget": {"trials": 36}}, executors=executors)

    assert numbers(executors)[:-12] == list(range(24))
    assert_longest_first(last_widths(executors, 12))


def test_drawn_trials_wait_when_the_study_is_interrupted_and_keep_their_order(run_scripted: RunStudy) -> None:
    executors = pool()

    ending, record, recorder = run_scripted(PLAIN, executors=executors, stop_after=2 * (TRIALS - LAST) + 1)

    assert ending == "interrupted"
    begun = {number for number, *_ in recorder.epochs} | set(numbers(executors))
    drawn = [trial for trial in record.trials if trial.is_drawn]
    assert len(drawn) == TRIALS - len(begun) > 1
    assert not {trial.number for trial in drawn} & begun
    assert {trial.state for trial in drawn} == {"WAITING"}
    assert all(trial.started for trial in drawn)
    assert spans(drawn) == []

    again = pool()
    again.checkpoints = executors.checkpoints
    ending, after, _ = run_scripted(PLAIN, executors=again)

    assert ending == "budget"
    assert [trial.state for trial in after.trials] == ["COMPLETE"] * TRIALS
    assert [trial.params for trial in after.trials] == [trial.params for trial in record.trials]
    fresh = [job for job in again.jobs if job.number not in begun]
    assert_longest_first([job.config["width"] for job in fresh])


def test_a_dead_executor_does_not_disturb_them(run_scripted: RunStudy) -> None:
    executors = pool(disasters={number: [(1, "died")] for number in range(TRIALS - LAST, TRIALS)})

    ending, record, _ = run_scripted(PLAIN, executors=executors)

    assert ending == "budget"
    assert [trial.state for trial in record.trials] == ["COMPLETE"] * TRIALS


def test_an_enqueued_trial_goes_before_them(run_scripted: RunStudy, storage: BatchStorage) -> None:
    run_scripted(PLAIN, executors=pool(), stop_after=2 * (TRIALS - LAST) + 1)
    study = optuna.load_study(study_name="test", storage=storage)
    study.enqueue_trial({"width": 8, "lr": 0.05, "optimizer": "sgd"})

    again = pool()
    ending, record, _ = run_scripted(PLAIN, executors=again)

    assert ending == "budget"
    assert numbers(again)[0] == TRIALS
    assert record.finished == TRIALS
    assert record.counts["RUNNING"] == 0
    (left,) = [trial for trial in record.trials if trial.state == "WAITING"]
    assert left.is_drawn or left.config["width"] == 8


def test_while_others_train_the_database_says_that_they_wait(run_scripted: RunStudy, storage: BatchStorage) -> None:
    executors = pool()
    most: list[int] = []

    def look(config: Configuration) -> float:
        most.append(load_record(storage, "test").counts["RUNNING"])
        return float(config.integer("width") ** 1.5)

    executors.script.seconds = look

    run_scripted(PLAIN, executors=executors)

    assert max(most) <= WORKERS


@pytest.mark.parametrize("budget", [20, 50])
def test_a_grid_still_has_every_combination_once(run_scripted: RunStudy, budget: int) -> None:
    executors = pool()
    space = {"width": {"choices": [8, 16, 32, 64]}, "batch_size": {"choices": [16, 32, 64, 128, 256]}}
    grid: dict[str, Any] = {"sampler": {"name": "grid"}, "search_space": space, "budget": {"trials": budget}}

    ending, record, _ = run_scripted(PLAIN | grid, executors=executors)

    assert ending == ("budget" if budget == 20 else "exhausted")
    assert len({(trial.params["width"], trial.params["batch_size"]) for trial in record.trials}) == 20
    assert sorted(numbers(executors)) == list(range(20))
    assert_longest_first(last_widths(executors, 6))
