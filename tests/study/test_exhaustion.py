"""A grid tries every combination once, and ends with a sentence."""

from typing import Any

import optuna
from optuna.trial import create_trial

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes

from .conftest import RunStudy, spec_of

GRID: dict[str, Any] = {
    "sampler": {"name": "grid"},
    "pruner": {"name": "none"},
    "train": {"epochs": 1},
    "search_space": {
        "optimizer": {"choices": ["sgd", "adam"]},
        "momentum": {"choices": [0.0, 0.9], "when": {"optimizer": "sgd"}},
        "lr": {"low": 0.1, "high": 0.3, "step": 0.1},
    },
}


def combinations(record: Any) -> list[tuple[tuple[str, object], ...]]:
    return [tuple(sorted(trial.params.items())) for trial in record.trials]


def test_every_combination_once_conditions_included(run_scripted: RunStudy) -> None:
    ending, record, _ = run_scripted(GRID | {"budget": {"trials": 50}})
    assert ending == "exhausted"
    assert len(combinations(record)) == len(set(combinations(record))) == 9
    assert record.counts["COMPLETE"] == 9


def test_continued_without_repeating(run_scripted: RunStudy) -> None:
    ending, record, _ = run_scripted(GRID | {"budget": {"trials": 4}})
    assert (ending, len(record.trials)) == ("budget", 4)
    ending, record, _ = run_scripted(GRID | {"budget": {"trials": 50}})
    assert ending == "exhausted"
    assert len(set(combinations(record))) == len(record.trials) == 9
    ending, record, _ = run_scripted(GRID | {"budget": {"trials": 50}})
    assert (ending, len(record.trials)) == ("exhausted", 9)


def test_with_several_workers(run_scripted: RunStudy) -> None:
    ending, record, _ = run_scripted(GRID | {"budget": {"trials": 50}}, workers=4)
    assert ending == "exhausted"
    assert len(set(combinations(record))) == 9
    assert not record.counts["RUNNING"]


def test_nothing_to_search_is_one_combination(run_scripted: RunStudy) -> None:
    ending, record, _ = run_scripted(GRID | {"search_space": {}, "budget": {"trials": 3}})
    assert (ending, len(record.trials)) == ("exhausted", 1)


def test_trials_of_another_program_try_no_combination(storage: BatchStorage, run_scripted: RunStudy) -> None:
    plain = GRID | {"search_space": {"lr": {"choices": [0.1, 0.2, 0.3, 0.4]}}, "budget": {"trials": 20}}
    other = optuna.create_study(study_name="test", storage=storage, direction="maximize")
    other.set_user_attr(attributes.SPEC, spec_of(plain).stored())
    for _ in range(4):
        other.add_trial(create_trial(value=0.9))
    ending, record, recorder = run_scripted(plain)
    assert (ending, record.finished, record.strangers) == ("exhausted", 8, 4)
    assert [(end.finished, end.most) for end in recorder.ends] == [(5, 8), (6, 8), (7, 8), (8, 8)]
    (estimate,) = (note for note in recorder.notes if note.startswith("estimated"))
    assert "1 epoch, 4 trials" in estimate
