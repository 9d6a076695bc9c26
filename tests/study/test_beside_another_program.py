"""Another program begins, tells and ends trials while they are trained here: the run goes on and says so."""

import threading
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.data.prepared import PreparedData
from cifar_tune.executors.messages import Died, Job, Report, Verdict
from cifar_tune.optuna_internals import trial_id
from cifar_tune.storage.records import load_record
from cifar_tune.storage.writer import Writer
from cifar_tune.study.opening import open_study
from tests.exhaustive import few_of
from tests.waiting import PATIENCE, wait_until

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors
from .three_knobs import LR, PLAIN


@pytest.mark.parametrize(
    "state", few_of([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL], [TrialState.COMPLETE])
)
def test_a_trial_that_another_program_ends_while_it_is_trained_is_let_go(
    storage: RDBStorage, run_scripted: RunStudy, monkeypatch: pytest.MonkeyPatch, state: TrialState
) -> None:
    """The run goes on with the others, and says what happened to this one."""
    noticed = threading.Event()
    give_up = Writer._give_up

    def notice(writer: Writer, *arguments: Any) -> None:
        give_up(writer, *arguments)
        noticed.set()

    monkeypatch.setattr(Writer, "_give_up", notice)

    class Told(ScriptedExecutors):
        def answer(self, number: int, verdict: Verdict) -> None:
            if number == 1 and len(self.checkpoints[1]) == 1:
                study = optuna.load_study(study_name="test", storage=storage)
                wait_until(lambda: len(study.trials) > 1)  # until it stands in the database
                if not study.trials[1].state.is_finished():
                    study.tell(1, 0.999 if state == TrialState.COMPLETE else None, state=state)
            super().answer(number, verdict)

        def reports(self, timeout: float) -> list[Report | Died]:
            if len(self.checkpoints.get(1, ())) == 3:  # the second epoch is on its way to the database
                assert noticed.wait(PATIENCE)
            return super().reports(timeout)

    plain = PLAIN | {"train": {"epochs": 200}, "search_space": {"lr": PLAIN["search_space"]["lr"]}}
    ending, record, recorder = run_scripted(plain, executors=Told(Script()))
    assert (ending, record.finished) == ("budget", 6)
    assert record.trials[1].state == state.name
    (end,) = (end for end in recorder.ends if end.number == 1)
    assert end.reason == "ended by another program"
    assert end.detail.startswith(f"as {state.name}")
    assert "while it was trained here: its training stops; it counts against the budget" in end.detail
    assert record.trials[1].epochs < 200
    assert record.best is not None
    assert record.best.number != 1
    assert [trial.state for trial in record.trials].count("COMPLETE") >= 5


class Beside(ScriptedExecutors):
    """Another program asks for trials while these train, and may tell them later."""

    def __init__(self, storage: RDBStorage, begins: int, tells_after: int | None) -> None:
        super().__init__(Script())
        self._theirs = optuna.load_study(study_name="test", storage=storage)
        self._begins, self._tells_after = begins, tells_after
        self.begun: list[optuna.Trial] = []

    @property
    def numbers(self) -> list[int]:
        """Those of the other program's trials; one of ours that is written later may have taken theirs."""
        ids = [trial_id(trial) for trial in self.begun]
        return [trial.number for trial in self._theirs.get_trials() if trial_id(trial) in ids]

    def submit(self, job: Job) -> None:
        if len(self.jobs) == 2 and not self.begun:
            self.begun = [self._theirs.ask({"lr": LR}) for _ in range(self._begins)]
        if self._tells_after is not None and len(self.jobs) == self._tells_after:
            for trial in self.begun:
                self._theirs.tell(trial, 0.999)
        super().submit(job)


@pytest.mark.parametrize("tells_after", [4, None], ids=["they end", "they never end"])
def test_trials_that_another_program_begins_count_when_they_end(
    storage: RDBStorage, data: PreparedData, run_scripted: RunStudy, tells_after: int | None
) -> None:
    plain = PLAIN | {"budget": {"trials": 10}}
    open_study(storage, spec_of(plain), data)
    executors = Beside(storage, begins=3, tells_after=tells_after)
    ending, record, recorder = run_scripted(plain, executors=executors)
    theirs = executors.numbers
    assert len(theirs) == 3
    assert any(
        note.startswith("another program has begun trial ") and "counted against the budget when it ends" in note
        for note in recorder.notes
    )
    assert len(executors.jobs) == 7  # never more than the budget leaves, whether or not the others end
    if tells_after is None:
        assert (ending, record.finished) == ("elsewhere", 7)
        assert [record.trials[number].state for number in theirs] == ["RUNNING"] * 3  # they are left alone
        # the next run takes them over, as what was left behind
        ending, record, _ = run_scripted(plain)
    assert (ending, record.finished, len(record.trials)) == ("budget", 10, 10)
    assert record.best is not None
    assert tells_after is None or record.best.number not in theirs


def test_another_programs_trials_are_left_alone_where_the_run_is_broken_off(
    storage: RDBStorage, data: PreparedData, run_scripted: RunStudy
) -> None:
    class Broken(Beside):
        def submit(self, job: Job) -> None:
            if len(self.jobs) == 4:
                raise ZeroDivisionError
            super().submit(job)

    open_study(storage, spec_of(PLAIN), data)
    executors = Broken(storage, begins=1, tells_after=None)
    with pytest.raises(ZeroDivisionError):
        run_scripted(PLAIN, executors=executors)
    (theirs,) = executors.numbers
    states = [trial.state for trial in load_record(storage, "test").trials]
    assert states[theirs] == "RUNNING"
    assert states.count("RUNNING") == 1
