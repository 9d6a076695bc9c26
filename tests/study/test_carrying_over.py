"""What `run --evolve` carries over with the trials: checkpoints, openings, rungs, and where each of them came from."""

from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from cifar_tune.storage import attributes
from cifar_tune.storage.openings import read_openings, write_opening
from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.study.checkpoints import checkpoints_of
from tests.reports.factory import OPENING, analysed_opening

from .conftest import RunStudy
from .evolution import Evolve, space, study, write_checkpoint


def test_who_drew_a_trial_is_remembered_through_all_versions(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    run_scripted(study(2, sampler={"name": "tpe"}))
    wider = study(3, search_space=space(lr={"low": 0.001, "high": 2.0, "log": True}))
    for version in (study(3), wider):
        evolve(version)
    _, record, _ = run_scripted(wider)
    assert [trial.drawn_by for trial in record.trials] == ["tpe", "tpe", "random"]


def test_the_number_of_a_version_that_was_deleted_is_not_given_again(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    run_scripted(study(2))
    evolve(study(2, search_space=space(lr={"low": 0.001, "high": 1.0, "log": True})))
    optuna.delete_study(study_name="test@1", storage=storage)
    evolve(study(2, search_space=space(lr={"low": 0.001, "high": 2.0, "log": True})))
    assert study_names(storage) == ["test", "test@2"], "trials of test@2 say that they came from test@1"
    optuna.delete_study(study_name="test", storage=storage)
    run_scripted(study(2))
    evolve(study(2, search_space=space(lr={"low": 0.001, "high": 1.0, "log": True})))
    assert study_names(storage) == ["test", "test@2", "test@3"]


def test_parked_trials_go_on_at_their_checkpoints(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    _, before, _ = run_scripted(study(), stop_after=10)  # trial 2 is parked after 2 epochs
    assert [trial.state for trial in before.trials] == ["COMPLETE", "COMPLETE", "WAITING"]
    for number in range(3):
        write_checkpoint(before.study, number, b"weights of %d" % number)
    lr = float(before.trials[0].params["lr"])
    changed = study(search_space=space(lr={"low": 0.01, "high": 1.0, "log": True}, dropout={"low": 0.0, "high": 0.1}))
    changed["search_space"]["lr"] = {"choices": [before.trials[1].params["lr"], before.trials[2].params["lr"]]}
    said = evolve(changed)
    assert "1 finished trial carried over, and 1 that had not ended; 1 left behind" in said[0]
    now = optuna.load_study(study_name="test", storage=storage)
    files = {file.name: file.read_bytes() for file in checkpoints_of(now).iterdir()}
    assert files == {"trial-000000.pt": b"weights of 1", "trial-000001.pt": b"weights of 2"}
    assert list(checkpoints_of(now).parent.parent.iterdir()) == [checkpoints_of(now).parent]
    assert lr not in changed["search_space"]["lr"]["choices"]
    _, after, _ = run_scripted(changed | {"budget": {"trials": 2}})
    assert [trial.number for trial in after.trials] == [0, 1]
    assert after.trials[1].resumed_from == [0]  # scripted executors keep their checkpoints elsewhere
    assert after.trials[1].config == before.trials[2].config
    assert dict(after.trials[1].intermediate).items() >= dict(before.trials[2].intermediate).items()


def test_enqueued_trials_and_known_configurations(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    plain = study(4, start_from=[{"optimizer": "adamw", "lr": 0.2}, {"lr": 0.7}])
    _, record, _ = run_scripted(plain)
    record.study.enqueue_trial({"lr": 0.3})
    record.study.enqueue_trial({"lr": 0.03})
    changed = study(
        9,
        search_space=space(lr={"low": 0.1, "high": 1.0, "log": True}),
        start_from=[{"lr": 0.9}, {"lr": 0.7}, {"optimizer": "adamw", "lr": 0.2}],
    )
    said = evolve(changed)
    assert any("it was enqueued, and lr = 0.03 is not between 0.1 and 1.0" in line for line in said)
    _, after, recorder = run_scripted(changed)
    assert after.finished == 9
    items = {trial.user_attrs[attributes.START_FROM]: trial.params["lr"]
             for trial in after.study.trials if attributes.START_FROM in trial.user_attrs}  # fmt: skip
    assert items == {0: 0.9, 1: 0.7, 2: 0.2}
    assert sorted(trial.params["lr"] for trial in after.study.trials).count(0.7) == 1
    assert [trial.source for trial in after.trials if trial.params["lr"] == 0.3] == ["enqueued"]
    assert not any("enqueued" in note for note in recorder.notes)


def test_openings_of_the_test_set_stay_on_the_record(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    _, before, _ = run_scripted(study())
    order = sorted(before.trials, key=lambda trial: float(trial.params["lr"]))
    write_opening(before.study, 0, OPENING.__class__(**OPENING.plain() | {"trial": order[0].number}))
    write_opening(before.study, 1, analysed_opening(trial=order[-1].number))
    file = {"trial": None, "chosen": "config", "source": "small.yaml"}
    write_opening(before.study, 2, OPENING.__class__(**OPENING.plain() | file))
    evolve(study(search_space=space(lr={"low": float(order[1].params["lr"]), "high": 1.0, "log": True})))
    after = load_record(storage, "test")
    lost, kept, other = read_openings(after.study.user_attrs)
    assert (lost.trial, lost.study, lost.tested) == (order[0].number, "test@1", f"{order[0].number} of test@1")
    assert (other.trial, other.study, other.tested) == (None, None, "small.yaml")
    assert kept.study is None
    assert kept.analysis == analysed_opening().analysis
    assert kept.trial is not None
    assert after.trials[kept.trial].params == order[-1].params
    assert after.elapsed_seconds == pytest.approx(sum(trial.seconds for trial in after.trials), abs=0.1)
    assert after.environment == before.environment


def test_a_pruners_rungs_stay_where_they_mean_the_same(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    def rungs(name: str) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in trial.system_attrs.items() if key.startswith("completed_rung")}
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        ]

    asha = {"name": "asha", "reduction_factor": 2}
    run_scripted(study(pruner=asha))
    before = rungs("test")
    assert any(before)
    evolve(study(pruner=asha, sampler={"name": "tpe"}))
    assert rungs("test") == before
    evolve(study(pruner={"name": "asha", "min_resource": 2}))
    assert rungs("test") == [{}] * 8
