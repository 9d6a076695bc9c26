"""Known configurations run first, once, in their order, whatever happens; ranges in proportion train in proportion."""

from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import UserError
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.opening import open_study
from tests.exhaustive import few_of

from .conftest import RunStudy, spec_of
from .enqueuing import die_while_enqueuing
from .scripted import Script, ScriptedExecutors
from .test_exhaustion import GRID, combinations

STUDY: dict[str, Any] = {
    "budget": {"trials": 10},
    "pruner": {"name": "none"},
    "train": {"epochs": 3},
    "search_space": {
        "lr": {"low": 0.01, "high": 1.0, "log": True, "per": "batch_size"},
        "batch_size": {"choices": [64, 128, 512]},
        "optimizer": {"choices": ["sgd", "adam"]},
        "momentum": {"low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
    },
    "start_from": [
        {"lr": 0.4, "batch_size": 512, "optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.75},
        {"lr": 0.02, "batch_size": 64, "optimizer": "sgd", "momentum": 0.9},
    ],
}
SAMPLERS: list[dict[str, Any]] = [
    {"name": "tpe", "n_startup_trials": 3},
    {"name": "qmc"},
    {"name": "random"},
    {"name": "nsgaii", "population_size": 4},
    {"name": "gp", "n_startup_trials": 4},
    {"name": "cmaes"},
]


def facts(record: StudyRecord) -> list[object]:
    return [(trial.number, trial.state, dict(trial.params), dict(trial.config), trial.value) for trial in record.trials]


def is_subset(named: dict[str, Any], found: Any) -> bool:
    return all(found[name] == value for name, value in named.items())


@pytest.mark.parametrize("sampler", few_of(SAMPLERS, SAMPLERS[:2]), ids=lambda sampler: str(sampler["name"]))
def test_first_in_order_and_the_same_however_often_it_is_interrupted(
    run_scripted: RunStudy, storage: RDBStorage, sampler: dict[str, Any]
) -> None:
    plain = STUDY | {"sampler": sampler, "budget": {"trials": 8}}
    _, undisturbed, _ = run_scripted(plain)
    assert [trial.source for trial in undisturbed.trials] == ["start_from"] * 3 + ["sampler"] * 5
    for item, trial in zip(STUDY["start_from"], undisturbed.trials, strict=False):
        assert is_subset(item, trial.config)
    wanted = facts(undisturbed)
    optuna.delete_study(study_name="test", storage=storage)
    disk: dict[int, Any] = {}
    ending = "interrupted"
    while ending == "interrupted":
        executors = ScriptedExecutors(Script(), checkpoints=disk)
        ending, record, _ = run_scripted(plain, executors=executors, stop_after=2)
    assert facts(record) == wanted


def test_the_sampler_sees_the_number_and_training_the_proportion(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY)
    assert record.trials[0].params["lr"] == 0.1
    for trial in record.trials:
        suggested, batch_size = float(trial.params["lr"]), int(trial.config["batch_size"])
        assert 0.01 <= suggested <= 1.0
        assert trial.config["lr"] == suggested * batch_size / 128
        assert trial.searched == {name: trial.config[name] for name in trial.params}
    assert len({trial.config["batch_size"] for trial in record.trials}) > 1


def test_they_count_in_the_budget(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 3}}, workers=2)
    assert [trial.source for trial in record.trials] == ["start_from"] * 3
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 5}})
    assert [trial.source for trial in record.trials] == ["start_from"] * 3 + ["sampler"] * 2


@pytest.mark.parametrize("enqueued", few_of(range(4), [1, 3]))
def test_killed_while_they_are_enqueued(
    storage: RDBStorage,
    data: PreparedData,
    run_scripted: RunStudy,
    monkeypatch: pytest.MonkeyPatch,
    enqueued: int,
) -> None:
    die_while_enqueuing(monkeypatch, enqueued)
    if enqueued < 3:
        with pytest.raises(KeyboardInterrupt):
            open_study(storage, spec_of(STUDY), data)
    else:
        open_study(storage, spec_of(STUDY), data)
    monkeypatch.undo()
    assert len(optuna.load_study(study_name="test", storage=storage).trials) == enqueued
    _, record, _ = run_scripted(STUDY)
    assert [trial.source for trial in record.trials] == ["start_from"] * 3 + ["sampler"] * 7
    assert all(is_subset(item, trial.config) for item, trial in zip(STUDY["start_from"], record.trials, strict=False))


def test_a_quasi_random_sequence_loses_no_point_to_complete_ones(run_scripted: RunStudy, storage: RDBStorage) -> None:
    complete = [STUDY["start_from"][0], STUDY["start_from"][2]]
    _, record, _ = run_scripted(STUDY | {"sampler": {"name": "qmc"}, "start_from": complete})
    attrs = storage.get_study_system_attrs(record.study._study_id)
    positions = [value for key, value in attrs.items() if key.startswith("qmc:")]
    assert positions == [7]  # the last of eight, counted from 0


def test_changed_ones_are_refused_with_what_differs(run_scripted: RunStudy) -> None:
    run_scripted(STUDY | {"budget": {"trials": 4}})
    changed = [STUDY["start_from"][0] | {"lr": 0.2}, *STUDY["start_from"][1:]]
    with pytest.raises(UserError, match=r"start_from\[0\].lr: 0.4 -> 0.2\n"):
        run_scripted(STUDY | {"start_from": changed})
    with pytest.raises(UserError, match=r"start_from\[0\].lr: removed \(was 0.4\)"):
        run_scripted({key: value for key, value in STUDY.items() if key != "start_from"})


def test_what_somebody_else_enqueued_comes_behind(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 3}})
    record.study.enqueue_trial({"lr": 50.0})
    record.study.enqueue_trial({"lr": 0.5, "batch_size": 64})
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 6}})
    assert [trial.source for trial in record.trials] == ["start_from"] * 3 + ["enqueued"] * 2 + ["sampler"]
    assert [trial.state for trial in record.trials] == ["COMPLETE"] * 3 + ["FAIL"] + ["COMPLETE"] * 2
    assert record.trials[4].config["lr"] == 0.25  # Optuna's own interface takes what the sampler would suggest


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "items",
    [
        [{"optimizer": "sgd", "momentum": 0.9, "lr": 0.3}, {"optimizer": "adam", "lr": 0.1}],
        [{"optimizer": "adam"}, {"optimizer": "sgd", "lr": 0.2}],
        [{"optimizer": "sgd", "momentum": momentum, "lr": lr} for momentum in (0.0, 0.9) for lr in (0.1, 0.2, 0.3)],
    ],
    ids=["complete", "partial", "most"],
)
def test_a_grid_tries_every_combination_once_all_the_same(
    run_scripted: RunStudy, items: list[dict[str, Any]], workers: int
) -> None:
    ending, record, _ = run_scripted(GRID | {"budget": {"trials": 50}, "start_from": items}, workers=workers)
    assert ending == "exhausted"
    assert len(combinations(record)) == len(set(combinations(record))) == 9
    assert all(is_subset(item, trial.params) for item, trial in zip(items, record.trials, strict=False))


def test_a_grid_of_numbers_in_proportion(run_scripted: RunStudy) -> None:
    space = {"lr": {"low": 0.1, "high": 0.3, "step": 0.1, "per": "batch_size"}, "batch_size": {"choices": [64, 96]}}
    plain = GRID | {"search_space": space, "budget": {"trials": 50}, "start_from": [{"lr": 0.225, "batch_size": 96}]}
    ending, record, _ = run_scripted(plain)
    assert ending == "exhausted"
    assert len(set(combinations(record))) == len(record.trials) == 6
    assert sorted(float(trial.config["lr"]) for trial in record.trials) == pytest.approx(
        [0.05, 0.075, 0.1, 0.15, 0.15, 0.225]
    )
