"""Executors that are lost for good, or hang when their trial has ended already: the run goes on with the others."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from cifar_tune.errors import CheckError
from cifar_tune.executors.messages import Died, Ended, Refused, Report

from .conftest import Clock, RunStudy
from .scripted import Script, ScriptedExecutors

STUDY: dict[str, Any] = {
    "budget": {"trials": 8},
    "train": {"epochs": 4},
    "pruner": {"name": "none"},
    "search_space": {"lr": {"low": 0.01, "high": 1.0, "log": True}},
}


class Shrinking(ScriptedExecutors):
    """Whatever takes the place of a dead executor refuses."""

    def reports(self, timeout: float) -> list[Report | Died]:
        found = super().reports(timeout)
        for report in found:
            if isinstance(report, Died):
                self._ready -= 1
                self._reports.append(Refused("cuda:0: must be a device of this machine"))
            if isinstance(report, Refused):
                self.workers -= 1
        return found


def test_an_executor_that_refuses_is_given_up_and_the_others_go_on(run_scripted: RunStudy) -> None:
    executors = Shrinking(Script(disasters={1: [(2, "died")]}), workers=2)
    ending, record, recorder = run_scripted(STUDY, executors=executors)
    assert ending == "budget"
    assert dict(record.counts) == {"COMPLETE": 8}
    assert list(record.trials[1].resumed_from) == [2], "the trial that it had goes on in another"
    (note,) = (note for note in recorder.notes if "given up" in note)
    assert note == ("one worker is given up, and the run goes on with 1: cuda:0: must be a device of this machine")


def test_each_of_several_reasons_is_a_note_of_its_own(run_scripted: RunStudy) -> None:
    executors = ScriptedExecutors(Script(), workers=2)
    executors._reports.pop()
    executors._reports.append(Refused("first.py: cannot be read\nsecond.py: cannot be read"))
    executors.workers = 1
    ending, _, recorder = run_scripted(STUDY, executors=executors)
    assert ending == "budget"
    assert [note for note in recorder.notes if "cannot be read" in note] == [
        "one worker is given up, and the run goes on with 1: first.py: cannot be read",
        "second.py: cannot be read",
    ]


def test_when_no_executor_is_left_the_run_ends_with_the_reason(run_scripted: RunStudy) -> None:
    executors = Shrinking(Script(disasters={0: [(1, "died")], 1: [(2, "died")]}), workers=2)
    with pytest.raises(CheckError, match="no worker is left: cuda:0: must be a device of this machine"):
        run_scripted(STUDY, executors=executors)
    _, record, _ = run_scripted(STUDY, executors=ScriptedExecutors(Script(), checkpoints=executors.checkpoints))
    assert dict(record.counts) == {"COMPLETE": 8}


def test_a_slot_in_which_none_can_start_is_given_up_and_the_others_go_on(run_scripted: RunStudy) -> None:
    executors = ScriptedExecutors(Script(), workers=2)
    executors._reports.pop()
    executors._reports.extend([Died(None, "exit code -11", slot=1)] * 3)
    ending, record, recorder = run_scripted(STUDY, executors=executors)
    assert ending == "budget"
    assert dict(record.counts) == {"COMPLETE": 8}
    (note,) = (note for note in recorder.notes if "given up" in note)
    assert note == (
        "one worker is given up, and the run goes on with 1: executors cannot start: 3 in a row ended: exit code -11"
    )


@dataclass
class HangsInItsLastCheckpoint(ScriptedExecutors):
    """Never says that it has left the first trial that was pruned."""

    silent_about: int | None = None
    clock: Clock = field(default_factory=Clock)

    def reports(self, timeout: float) -> list[Report | Died]:
        found = super().reports(timeout)
        if not found:
            self.clock.now += 20.0
        for report in found:
            if isinstance(report, Ended) and report.outcome == "stopped" and self.silent_about in (None, report.number):
                self.silent_about = report.number
                return []
        return found


@pytest.mark.parametrize("pruned_by", ["the pruner", "a constraint"])
def test_an_executor_that_hangs_after_its_trial_was_pruned_is_replaced(
    run_scripted: RunStudy, clock: Clock, pruned_by: str
) -> None:
    script = Script(parameters=lambda config: 1000 if config.number("lr") < 0.05 else 2000)
    executors = HangsInItsLastCheckpoint(script, clock=clock)
    more: dict[str, Any] = {"pruner": {"name": "threshold", "lower": 0.01}}
    if pruned_by == "a constraint":
        more = {"constraints": ["parameters <= 1500"]}
    ending, record, recorder = run_scripted(STUDY | more, executors=executors)
    assert ending == "budget"
    assert record.finished == len(record.trials) == 8
    assert executors.killed == [executors.silent_about]
    assert any("its executor hung when the trial had to stop, and was replaced" in note for note in recorder.notes)
