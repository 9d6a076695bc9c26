"""Trials that have trained all their epochs when something happens: nothing but the word for it is missing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

from cifar_tune.executors.messages import Died, Ended, EpochDone, Report
from cifar_tune.storage import attributes
from cifar_tune.storage.attributes import joined, pieces
from cifar_tune.storage.figures import stored_figures
from cifar_tune.study.coordinator import Coordinator
from cifar_tune.study.ends import Ends
from cifar_tune.training.results import FIGURES
from tests.reports.factory import make_spec
from tests.waiting import PATIENCE

from .conftest import Clock, RunStudy
from .scripted import Script, ScriptedExecutors

LR: dict[str, Any] = {"lr": {"low": 0.01, "high": 1.0, "log": True}}
ONE: dict[str, Any] = {
    "budget": {"trials": 1, "trial_timeout": 10},
    "pruner": {"name": "none"},
    "train": {"epochs": 4},
    "search_space": LR,
}


class Slow(ScriptedExecutors):
    """Says nothing at first, as a process that imports torch."""

    silent = 3

    def reports(self, timeout: float) -> list[Report | Died]:
        if self.jobs and self.silent:
            self.silent -= 1
            return []
        return super().reports(timeout)


def test_over_its_time_but_trained_it_completes_after_an_interruption(
    run_scripted: RunStudy, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Coordinator._handle

    def interrupted_at_the_end(self: Coordinator, report: Report | Died) -> None:
        if isinstance(report, Ended):
            self._watch.stop.count = 1
            return
        if isinstance(report, EpochDone) and report.result.epoch == self._running[report.number].epochs:
            clock.now += 12.0
        handle(self, report)

    disk: dict[int, Any] = {}
    monkeypatch.setattr(Coordinator, "_handle", interrupted_at_the_end)
    ending, _, _ = run_scripted(ONE, executors=ScriptedExecutors(Script(), checkpoints=disk))
    assert ending == "interrupted"
    monkeypatch.setattr(Coordinator, "_handle", handle)
    _, record, _ = run_scripted(ONE, executors=Slow(Script(), checkpoints=disk))
    assert [(trial.state, trial.epochs) for trial in record.trials] == [("COMPLETE", 4)]


def test_an_executor_that_dies_after_the_last_epoch_costs_nothing(
    run_scripted: RunStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Coordinator._handle

    def killed_at_the_end(self: Coordinator, report: Report | Died) -> None:
        if isinstance(report, Ended):
            self._executors.finished(report.number)
            report = Died(report.number, "killed", 0, out_of_memory=True)
        handle(self, report)

    monkeypatch.setattr(Coordinator, "_handle", killed_at_the_end)
    _, record, _ = run_scripted(ONE | {"budget": {"trials": 1}})
    assert [(trial.state, trial.reason) for trial in record.trials] == [("COMPLETE", "completed")]


def test_a_pruned_trial_has_its_history_before_the_verdict_is_written(
    run_scripted: RunStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the verdict and the rest of its end the run may be killed."""
    seen: list[bool] = []
    tell = Ends.tell

    def watched(self: Ends, running: Any, *arguments: Any, **more: Any) -> None:
        attrs = self._storage.get_trial(running.trial._trial_id).user_attrs
        if attributes.PRUNED_AT in attrs:
            seen.append(len(joined(attrs)["val_loss"]) == attrs[attributes.PRUNED_AT])
        tell(self, running, *arguments, **more)

    monkeypatch.setattr(Ends, "tell", watched)
    pruner = {"name": "median", "n_startup_trials": 2}
    run_scripted({"budget": {"trials": 12}, "train": {"epochs": 9}, "search_space": LR, "pruner": pruner})
    assert seen
    assert all(seen)


def test_trials_of_many_epochs_are_judged_by_their_last_one() -> None:
    history = {name: [index / 1000 for index in range(600)] for name in FIGURES}
    trial = create_trial(value=0.5, user_attrs={**pieces(history), attributes.EPOCHS: 600})
    spec = make_spec({}, constraints=["val_accuracy >= 0.1"])
    assert stored_figures(trial.user_attrs, spec)["val_accuracy"] == 0.599


_FIRST_EXECUTOR = """
import signal
from cifar_tune.executors.starting import HELD_BACK
from cifar_tune.executors.starting import Starter

def say_mask(connection, device, slot):
    blocked = set(HELD_BACK) <= set(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    connection.send(blocked)

if __name__ == "__main__":
    starter = Starter(say_mask)
    processes = [starter.start("cpu", index) for index in range(2)]
    found = [connection.recv() for _, connection in processes]
    print(found, set(HELD_BACK) <= set(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


def test_the_very_first_executor_holds_signals_back_too(tmp_path: Path) -> None:
    """The first process that multiprocessing spawns begins its resource tracker, which unblocks signals."""
    script = tmp_path / "first.py"
    script.write_text(_FIRST_EXECUTOR)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "[True, True] False"
