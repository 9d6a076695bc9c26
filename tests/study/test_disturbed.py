"""Trials that are parked, or lost coordinator or executor, go on under their numbers, as if nothing had happened."""

import time
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.errors import UserError
from cifar_tune.executors.messages import Began
from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.part import Value
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study import asking
from cifar_tune.study_spec.search_space import Dimension
from tests.exhaustive import few_of

from .conftest import RunStudy
from .scripted import Script, ScriptedExecutors

STUDY: dict[str, Any] = {
    "budget": {"trials": 12},
    "train": {"epochs": 9},
    "search_space": {"lr": {"low": 0.01, "high": 1.0, "log": True}, "optimizer": {"choices": ["sgd", "adam"]}},
}
PRUNERS: list[dict[str, Any]] = [
    {"name": "none"},
    {"name": "median", "n_startup_trials": 2},
    {"name": "asha"},
    {"name": "hyperband"},
]


def facts(record: StudyRecord) -> list[object]:
    return [
        (trial.number, trial.state, dict(trial.params), trial.value, dict(trial.intermediate))
        for trial in record.trials
    ]


@pytest.mark.parametrize("pruner", few_of(PRUNERS, PRUNERS[-1:]), ids=lambda pruner: str(pruner["name"]))
def test_interrupted_after_every_epoch_ends_like_undisturbed(
    run_scripted: RunStudy, storage: RDBStorage, pruner: dict[str, Any]
) -> None:
    plain = STUDY | {"pruner": pruner, "budget": {"trials": 8}}
    _, undisturbed, _ = run_scripted(plain)
    disk = ScriptedExecutors(Script()).checkpoints
    ending = "interrupted"
    runs = 0
    wanted = facts(undisturbed)
    # begun anew under the same name, since hyperband's brackets depend on it
    optuna.delete_study(study_name="test", storage=storage)
    while ending == "interrupted":
        executors = ScriptedExecutors(Script(), checkpoints=disk)
        ending, record, _ = run_scripted(plain, executors=executors, stop_after=2)
        assert record.counts["RUNNING"] == 0
        runs += 1
    assert runs > 8
    assert facts(record) == wanted


def test_parking_leaves_nothing_running(run_scripted: RunStudy) -> None:
    ending, record, recorder = run_scripted(STUDY, stop_after=5, workers=3)
    assert ending == "interrupted"
    assert record.counts["RUNNING"] == 0
    assert record.counts["WAITING"] == 3
    assert sorted(number for number, _ in recorder.parked_trials) == [0, 1, 2]


def test_resumed_trials_say_from_where(run_scripted: RunStudy) -> None:
    disk = ScriptedExecutors(Script(), checkpoints={})
    _, record, _ = run_scripted(STUDY, executors=disk, stop_after=4)
    assert record.trials[0].state == "WAITING"
    kept = len(disk.checkpoints[0])
    _, record, _ = run_scripted(STUDY, executors=ScriptedExecutors(Script(), checkpoints=disk.checkpoints))
    assert list(record.trials[0].resumed_from) == [kept]
    assert record.trials[0].epochs == 9


def test_a_lost_checkpoint_starts_the_trial_again(run_scripted: RunStudy) -> None:
    run_scripted(STUDY, stop_after=4)
    _, record, _ = run_scripted(STUDY)  # another disk
    assert list(record.trials[0].resumed_from) == [0]
    assert len(record.trials[0].history["val_loss"]) == 9
    assert record.finished == len(record.trials) == 12


def test_orphans_of_a_killed_run_are_taken_up(run_scripted: RunStudy, storage: RDBStorage) -> None:
    _, record, _ = run_scripted(STUDY, stop_after=4)
    storage.set_trial_state_values(record.study.get_trials()[0]._trial_id, TrialState.RUNNING)
    _, record, recorder = run_scripted(STUDY)
    assert any("killed" in note for note in recorder.notes)
    assert record.finished == len(record.trials) == 12


def test_half_of_a_trials_parameters_is_never_in_the_database(
    run_scripted: RunStudy, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed while a slow sampler draws leaves nothing that the next run would not go on with."""
    seen: list[tuple[str, bool]] = []
    drawn = asking._suggest

    def slowly(trial: optuna.Trial, knob: Knob, dimension: Dimension) -> Value:
        value = drawn(trial, knob, dimension)
        time.sleep(0.3)
        seen.extend((each.state.name, "config" in each.user_attrs) for each in in_database.get_trials())
        return value

    run_scripted(STUDY, stop_after=1)
    in_database = optuna.load_study(study_name="test", storage=storage)
    in_database.enqueue_trial({"lr": 0.1})
    monkeypatch.setattr(asking, "_suggest", slowly)
    run_scripted(STUDY | {"budget": {"trials": 4}}, stop_after=20)
    assert {("WAITING", False), ("COMPLETE", True)} <= set(seen)
    assert ("RUNNING", False) not in seen


def test_a_dead_executor_costs_nothing(run_scripted: RunStudy) -> None:
    plain = STUDY | {"pruner": {"name": "none"}}
    script = Script(disasters={2: [(3, "died")], 4: [(0, "died"), (5, "died"), (6, "died"), (7, "died")]})
    _, record, recorder = run_scripted(plain, script)
    assert dict(record.counts) == {"COMPLETE": 12}
    assert sum("executor died" in note for note in recorder.notes) == 5
    assert list(record.trials[2].resumed_from) == [3]


def test_three_deaths_without_progress_fail_the_trial(run_scripted: RunStudy) -> None:
    script = Script(disasters={1: [(2, "died"), (2, "died"), (2, "died"), (2, "died")]})
    _, record, _ = run_scripted(STUDY | {"pruner": {"name": "none"}}, script)
    trial = record.trials[1]
    assert (trial.state, trial.reason) == ("FAIL", "error")
    assert "died 3 times" in str(trial.error)
    assert "-9" in str(trial.error)
    assert record.finished == len(record.trials) == 12


def test_successive_halving_sees_the_rungs_of_resumed_trials(run_scripted: RunStudy) -> None:
    plain = STUDY | {"pruner": {"name": "asha", "reduction_factor": 3}, "budget": {"trials": 6}}
    disk = ScriptedExecutors(Script(), checkpoints={})
    run_scripted(plain, executors=disk, stop_after=4)
    _, record, _ = run_scripted(plain, executors=ScriptedExecutors(Script(), checkpoints=disk.checkpoints))
    rungs = record.study.trials[0].system_attrs
    assert {f"completed_rung_{rung}" for rung in (0, 1)} <= set(rungs)
    assert rungs["completed_rung_0"] == record.trials[0].intermediate[1]


@pytest.mark.parametrize(
    "params", [{"optimizer": "adagrad"}, {"lr": "high"}, {"lr": 50.0}, {"lr": True}, {"epochs": 40}], ids=str
)
def test_an_enqueued_trial_that_cannot_run_fails_and_the_study_goes_on(
    run_scripted: RunStudy, params: dict[str, Any]
) -> None:
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 1}})
    record.study.enqueue_trial(params)
    _, record, recorder = run_scripted(STUDY | {"budget": {"trials": 4}})
    assert record.counts["FAIL"] == 1
    assert record.finished == len(record.trials) == 4
    assert any("cannot run" in note for note in recorder.notes)


def test_an_enqueued_trial_that_cannot_run_does_not_end_a_parked_one(run_scripted: RunStudy) -> None:
    plain = STUDY | {"budget": {"trials": 3}, "train": {"epochs": 2}, "pruner": {"name": "none"}}
    executors = ScriptedExecutors(Script())
    _, record, _ = run_scripted(plain, executors=executors, stop_after=3)
    record.study.enqueue_trial({"lr": 50.0})
    again = ScriptedExecutors(Script(), checkpoints=executors.checkpoints)
    _, record, _ = run_scripted(plain, executors=again)
    assert [trial.state for trial in record.trials] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_an_enqueued_trial_in_the_space_runs_as_it_is(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 1}})
    record.study.enqueue_trial({"optimizer": "adam", "lr": 0.25})
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 2}})
    assert dict(record.trials[1].params) == {"optimizer": "adam", "lr": 0.25}


def test_wrong_input_that_shows_in_the_first_trial_uses_up_nothing(run_scripted: RunStudy) -> None:
    with pytest.raises(UserError, match="scripted refused"):
        run_scripted(STUDY, Script(disasters={0: [(0, "refused")]}))
    _, record, _ = run_scripted(STUDY)
    assert record.finished == len(record.trials) == 12
    assert record.counts["FAIL"] == 0


def test_an_error_of_the_coordinator_leaves_nothing_running(run_scripted: RunStudy, storage: RDBStorage) -> None:
    executors = ScriptedExecutors(Script(), workers=2)
    executors.answer = lambda number, verdict: (_ for _ in ()).throw(OSError("scripted"))  # type: ignore[method-assign]
    with pytest.raises(OSError, match="scripted"):
        run_scripted(STUDY, executors=executors)
    states = [trial.state for trial in optuna.load_study(study_name="test", storage=storage).trials]
    assert states == [TrialState.WAITING] * 2


def test_a_trial_parked_before_it_went_on_keeps_its_record(run_scripted: RunStudy, storage: RDBStorage) -> None:
    disk = ScriptedExecutors(Script(), checkpoints={})
    _, before, _ = run_scripted(STUDY, executors=disk, stop_after=3)

    class Slow(ScriptedExecutors):
        def reports(self, timeout: float) -> list[Any]:
            found = super().reports(timeout)
            if any(isinstance(report, Began) for report in found):
                raise KeyboardInterrupt  # while the executor loads its images
            return found

    with pytest.raises(KeyboardInterrupt):
        run_scripted(STUDY, executors=Slow(Script(), checkpoints=disk.checkpoints))
    record = load_record(storage, "test")
    assert record.trials[0].state == "WAITING"
    assert record.trials[0].history == before.trials[0].history
    assert record.trials[0].epochs == before.trials[0].epochs > 0


def test_the_verdict_of_a_killed_run_stands(run_scripted: RunStudy, storage: RDBStorage) -> None:
    _, record, _ = run_scripted(STUDY, stop_after=3)
    trial = record.study.get_trials()[0]
    storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    storage.set_trial_user_attr(trial._trial_id, "pruned_at", 3)
    _, record, _ = run_scripted(STUDY)
    assert (record.trials[0].state, record.trials[0].reason) == ("PRUNED", "pruned")
    assert record.trials[0].value == record.trials[0].intermediate[max(record.trials[0].intermediate)]
    assert record.finished == len(record.trials) == 12


def test_an_empty_study_of_another_direction_is_made_anew(run_scripted: RunStudy, storage: RDBStorage) -> None:
    optuna.create_study(study_name="test", storage=storage, direction="minimize")
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 1}})
    assert record.study.direction.name == "MAXIMIZE"


def test_a_finished_study_is_finished_even_when_its_time_is_over(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY | {"budget": {"trials": 2}})
    record.study.set_user_attr("elapsed_seconds", 100.0)
    ending, _, _ = run_scripted(STUDY | {"budget": {"trials": 2, "timeout": "50s"}})
    assert ending == "budget"
