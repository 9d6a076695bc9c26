"""The budget is reached exactly, whatever happens on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.trial import create_trial
from sqlalchemy import text

from cifar_tune.errors import CheckError
from cifar_tune.executors.messages import Died, Ended, EpochDone, Ready, Report
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.storage import attributes
from cifar_tune.study.coordinator import Coordinator

from .conftest import Clock, RunStudy
from .scripted import Script, ScriptedExecutors

LR: dict[str, Any] = {"lr": {"low": 0.01, "high": 1.0, "log": True}}


def study(trials: int, **sections: Any) -> dict[str, Any]:
    return {"budget": {"trials": trials}, "train": {"epochs": 4}, "search_space": LR} | sections


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_exactly_so_many_trials(run_scripted: RunStudy, workers: int) -> None:
    ending, record, _ = run_scripted(study(10), workers=workers)
    assert ending == "budget"
    assert record.finished == len(record.trials) == 10


def test_all_workers_are_used(run_scripted: RunStudy) -> None:
    executors = ScriptedExecutors(Script(), workers=3)
    run_scripted(study(9), executors=executors)
    assert executors.most_at_once == 3


def test_failures_and_disasters_count(run_scripted: RunStudy) -> None:
    script = Script(disasters={1: [(2, "error")], 2: [(0, "diverged")], 3: [(1, "out_of_memory")]})
    _, record, _ = run_scripted(study(6, pruner={"name": "none"}), script)
    assert dict(record.counts) == {"COMPLETE": 3, "PRUNED": 2, "FAIL": 1}
    assert [trial.reason for trial in record.trials[1:4]] == ["error", "diverged", "out_of_memory"]
    assert record.trials[1].error == "scripted error"
    assert (record.trials[2].value, record.trials[2].epochs) == (None, 0)
    assert record.trials[3].value == record.trials[3].intermediate[1]


def in_mid_run(storage: RDBStorage, finished: int, act: Callable[[optuna.Study], None]) -> ScriptedExecutors:
    """Executors of a study; another program does something to it once, when this many trials have ended."""
    executors = ScriptedExecutors(Script())
    played = executors.reports
    done: list[bool] = []

    def reports(timeout: float) -> list[Report | Died]:
        found = played(timeout)
        if not done and len(executors.jobs) > finished and any(isinstance(each, EpochDone) for each in found):
            done.append(True)
            other = optuna.load_study(study_name="test", storage=storage)
            while len(other.trials) < len(executors.jobs):
                time.sleep(0.01)
            act(other)
        return found

    executors.reports = reports  # type: ignore[method-assign]
    return executors


def test_what_is_enqueued_during_a_trial_is_next(run_scripted: RunStudy, storage: RDBStorage) -> None:
    executors = in_mid_run(storage, 2, lambda other: other.enqueue_trial({"lr": 0.125}))
    ending, record, _ = run_scripted(study(6), executors=executors)
    assert (ending, record.finished, len(record.trials)) == ("budget", 6, 6)
    assert record.trials[3].params["lr"] == 0.125


def test_what_another_program_finishes_in_mid_run_counts(run_scripted: RunStudy, storage: RDBStorage) -> None:
    executors = in_mid_run(storage, 2, lambda other: other.add_trial(create_trial(value=0.9)))
    ending, record, recorder = run_scripted(study(6), executors=executors)
    assert (ending, record.finished, len(record.trials), len(executors.jobs)) == ("budget", 6, 6, 5)
    assert recorder.ends[-1].finished == 6
    assert recorder.ends[-1].best_number not in {None, 3}
    assert any("another program finished trial 3" in note for note in recorder.notes)


def test_a_trial_of_another_kind_ends_the_run_with_its_number(run_scripted: RunStudy, storage: RDBStorage) -> None:
    kind = distribution_to_json(CategoricalDistribution(["low", "high"]))
    row = "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (:id, 'lr', 0, :kind)"

    def spoil(other: optuna.Study) -> None:  # Optuna itself would not take it beside the others
        with storage.engine.begin() as connection:
            connection.execute(text(row), {"id": other.ask()._trial_id, "kind": kind})

    with pytest.raises(CheckError, match="another program wrote trial 3 into the study"):
        run_scripted(study(6), executors=in_mid_run(storage, 2, spoil))


def test_a_second_run_adds_nothing(run_scripted: RunStudy) -> None:
    run_scripted(study(5))
    executors = ScriptedExecutors(Script())
    ending, record, _ = run_scripted(study(5), executors=executors)
    assert (ending, len(record.trials), executors.jobs) == ("budget", 5, [])


def test_the_budget_may_grow_and_shrink(run_scripted: RunStudy) -> None:
    run_scripted(study(3))
    _, record, _ = run_scripted(study(7))
    assert (len(record.trials), record.spec.budget.trials) == (7, 7)
    _, record, _ = run_scripted(study(2))
    assert len(record.trials) == 7


def test_time_is_summed_over_runs(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(study(2))
    record.study.set_user_attr("elapsed_seconds", 100.0)
    ending, record, _ = run_scripted(study(5, budget={"trials": 5, "timeout": "100s"}))
    assert (ending, len(record.trials)) == ("timeout", 2)
    ending, record, _ = run_scripted(study(5, budget={"trials": 5, "timeout": "10m"}))
    assert (ending, len(record.trials)) == ("budget", 5)
    assert record.elapsed_seconds >= 100


@dataclass
class LongSilence(ScriptedExecutors):
    """Where there is nothing to hear, seconds pass."""

    clock: Clock = field(default_factory=Clock)

    def reports(self, timeout: float) -> list[Report | Died]:
        found = super().reports(timeout)
        if not found:
            self.clock.now += 3.0
        return found


@pytest.mark.parametrize("finished", [0, 1])
def test_a_trial_that_hangs_ends_when_its_time_is_over(run_scripted: RunStudy, clock: Clock, finished: int) -> None:
    executors = LongSilence(Script(disasters={1: [(finished, "hangs")]}), clock=clock)
    budget = {"trials": 4, "trial_timeout": "10s"}
    _, record, recorder = run_scripted(study(4, budget=budget, pruner={"name": "none"}), executors=executors)
    assert dict(record.counts) == {"COMPLETE": 3, "PRUNED": 1}
    assert executors.killed == [1]
    (end,) = (end for end in recorder.ends if end.number == 1)
    assert end.detail == "budget.trial_timeout of 10 s is over; its executor was replaced"
    assert (record.trials[1].reason, record.trials[1].epochs) == ("timeout", finished)


def test_a_slow_trial_ends_after_its_epoch_and_keeps_its_executor(run_scripted: RunStudy, clock: Clock) -> None:
    def slow(config: Configuration, epoch: int) -> float:
        clock.now += 8.0 if epoch == 2 else 2.0
        return 0.1

    executors = ScriptedExecutors(Script(slow, seconds=lambda _: 8.0))
    budget = {"trials": 2, "trial_timeout": 10}
    _, record, recorder = run_scripted(study(2, budget=budget, pruner={"name": "none"}), executors=executors)
    assert [(trial.reason, trial.epochs) for trial in record.trials] == [("timeout", 2)] * 2
    assert [end.detail for end in recorder.ends] == ["budget.trial_timeout of 10 s is over"] * 2
    assert [trial.value for trial in record.trials] == [trial.intermediate[2] for trial in record.trials]
    assert executors.killed == []


def test_the_time_of_a_trial_is_summed_over_runs(run_scripted: RunStudy, clock: Clock) -> None:
    def slow(config: Configuration, epoch: int) -> float:
        clock.now += 2.0
        return 0.1

    _, record, _ = run_scripted(study(1, pruner={"name": "none"}), Script(slow), stop_after=2)
    (trial,) = record.study.get_trials()
    assert trial.user_attrs["spent_seconds"] > 0
    record.study._storage.set_trial_user_attr(trial._trial_id, "spent_seconds", 3600.0)
    budget = {"trials": 1, "trial_timeout": "1h"}
    _, record, _ = run_scripted(study(1, budget=budget, pruner={"name": "none"}))
    assert (record.trials[0].state, record.trials[0].reason) == ("PRUNED", "timeout")
    assert record.trials[0].epochs == 2


def test_a_death_for_lack_of_memory_prunes_the_trial(run_scripted: RunStudy) -> None:
    script = Script(disasters={1: [(2, "killed for memory")]})
    _, record, _ = run_scripted(study(4, pruner={"name": "none"}), script)
    assert dict(record.counts) == {"COMPLETE": 3, "PRUNED": 1}
    assert (record.trials[1].reason, record.trials[1].epochs) == ("out_of_memory", 2)


@pytest.mark.parametrize("again", [[], [Ready("scripted", {"torch": "none"})]], ids=["in a row", "ready in between"])
def test_false_starts_count_only_in_a_row(run_scripted: RunStudy, again: list[Any]) -> None:
    executors = ScriptedExecutors(Script())
    played = executors.reports

    def reports(timeout: float) -> list[Any]:
        found = played(timeout)
        ended = any(isinstance(each, Ended) for each in found)
        return [*found, Died(None, "exit code -9"), *again] if ended else found

    executors.reports = reports  # type: ignore[method-assign]
    if again:
        assert run_scripted(study(6), executors=executors)[0] == "budget"
    else:
        with pytest.raises(CheckError, match="3 in a row"):
            run_scripted(study(6), executors=executors)


def test_every_epoch_is_written_down(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(study(1))
    trial = record.trials[0]
    lr = trial.params["lr"]
    assert isinstance(lr, float)
    wanted = [pytest.approx(lr * epoch / 10) for epoch in (1, 2, 3, 4)]
    assert list(trial.history["val_accuracy"]) == wanted
    assert [trial.intermediate[epoch] for epoch in (1, 2, 3, 4)] == wanted
    assert trial.value == wanted[-1]
    assert (trial.epochs, trial.seconds, trial.parameters, trial.device) == (4, 4.0, 1000, "scripted")
    assert trial.config["lr"] == lr
    assert trial.config["epochs"] == 4
    assert set(trial.history) == {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"}


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [("val_accuracy", 0.3), ("best_val_accuracy", 0.6), ("val_loss", 0.7), ("best_val_loss", 0.4)],
)
def test_the_objective_is_what_was_asked_for(run_scripted: RunStudy, metric: str, wanted: float) -> None:
    script = Script(curve=lambda _, epoch: [0.2, 0.6, 0.5, 0.3][epoch - 1])
    _, record, _ = run_scripted(study(1, objective={"metric": metric}), script)
    assert record.trials[0].value == pytest.approx(wanted)
    assert record.study.metric_names == [metric]
    assert record.study.direction.name == ("MAXIMIZE" if "accuracy" in metric else "MINIMIZE")


def test_best_honours_the_direction(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(study(6, pruner={"name": "none"}))
    assert record.best is not None
    assert record.best.value == max(trial.value or 0 for trial in record.trials)
    _, record, _ = run_scripted(study(6, pruner={"name": "none"}, name="loss", objective={"metric": "val_loss"}))
    assert record.best is not None
    assert record.best.value == min(trial.value or 9 for trial in record.trials)


def test_the_clock_is_written_while_trials_run(run_scripted: RunStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed in a long trial has used up its time all the same."""
    monkeypatch.setattr("cifar_tune.study.budget._CLOCK_SECONDS", 0.0)
    seen: list[float] = []
    handle = Coordinator._handle

    def watched(self: Coordinator, report: Report | Died) -> None:
        time.sleep(0.05)
        handle(self, report)
        seen.append(self._study.user_attrs.get(attributes.ELAPSED, 0.0))

    monkeypatch.setattr(Coordinator, "_handle", watched)
    run_scripted(study(1))
    assert seen[-2] > 0, "before the trial has ended"
