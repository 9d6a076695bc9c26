"""Executors that come and go while a study runs, played by a script: what becomes of the trials, and of the time."""

import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest

from cifar_tune.data.prepared import PreparedData
from cifar_tune.executors.gpu_sharing import OpenQuestion, Sharing
from cifar_tune.executors.messages import Died, Ended, Report
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.pruners.build import build_pruner
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study import budget
from cifar_tune.study.coordinator import Coordinator, Ending
from cifar_tune.study.events import StopRequests, WantedDevices, Watch
from cifar_tune.study.finding_workers import FindingWorkers
from cifar_tune.study.opening import open_study
from tests.exhaustive import few_of

from .conftest import Clock, Recorder, spec_of
from .scripted import Script, ScriptedExecutors

LR: dict[str, Any] = {"lr": {"low": 0.01, "high": 1.0, "log": True}}
STUDY: dict[str, Any] = {
    "budget": {"trials": 12},
    "train": {"epochs": 5},
    "pruner": {"name": "median", "n_startup_trials": 3},
    "deterministic": 3,
    "search_space": LR,
}


@dataclass
class Resized(ScriptedExecutors):
    """Calls `when_empty` when it has no workers left, and nothing to say."""

    when_empty: Callable[[], None] = lambda: None

    def reports(self, timeout: float) -> list[Report | Died]:
        found = super().reports(timeout)
        if not found and not self.workers and not self._trials:
            self.when_empty()
        return found


@dataclass
class Run:
    """A study whose pool changes: `resizes` says after how many epochs in all it gets how many workers."""

    storage: BatchStorage
    data: PreparedData
    resizes: Sequence[tuple[int, int]] = ()
    workers: int = 3
    more_when_empty: int = 2
    pool: ScriptedExecutors = field(default_factory=lambda: Resized(Script()))
    recorder: Recorder = field(default_factory=Recorder)
    pauses: int = 0
    finding: FindingWorkers | None = None

    def __post_init__(self) -> None:
        self.watch = Watch(self.recorder, StopRequests())
        self.recorder.after_epoch = self.resize
        self.pool.resize(["cpu"] * self.workers, lambda _number: 0.0)
        if isinstance(self.pool, Resized):
            self.pool.when_empty = self.after_a_pause

    def resize(self) -> None:
        for epochs, workers in self.resizes:
            if len(self.recorder.epochs) == epochs:
                self.watch.devices.ask(WantedDevices(("cpu",) * workers, "anna"))

    def after_a_pause(self) -> None:
        self.pauses += 1
        self.watch.devices.ask(WantedDevices(("cpu",) * self.more_when_empty, "ben"))

    def run(self, plain: dict[str, Any]) -> tuple[Ending, StudyRecord]:
        spec = spec_of(plain)
        open_study(self.storage, spec, self.data)
        with closing(WriteBehindStorage(self.storage, spec.name, look=0.0, rewrite=0.0, linger=0.01)) as memory:
            pruner = build_pruner(spec.pruner, spec.largest_epochs)
            study = optuna.load_study(study_name=spec.name, storage=memory, pruner=pruner)
            ending = Coordinator(memory, study, spec, self.pool, self.watch, None, self.finding).run()
        return ending, load_record(self.storage, spec.name)


def shown(record: StudyRecord) -> list[tuple[str, str | None, float | None, dict[int, float]]]:
    return [(trial.state, trial.reason, trial.value, dict(trial.intermediate)) for trial in record.trials]


@pytest.mark.parametrize("seed", few_of(range(4), [0]))
def test_trials_are_those_of_an_undisturbed_study(storage: BatchStorage, data: PreparedData, seed: int) -> None:
    _, record = Run(storage, data).run(STUDY)
    undisturbed = shown(record)
    draw = random.Random(seed)  # noqa: S311
    resizes = [(epochs, draw.choice([0, 1, 2, 3, 5])) for epochs in range(1, 60) if draw.random() < 0.4]
    run = Run(storage, data, resizes)
    ending, record = run.run(STUDY | {"name": "resized"})
    assert ending == "budget"
    assert shown(record) == undisturbed
    trained = [(number, epoch) for number, epoch, _ in run.recorder.epochs]
    assert len(trained) == len(set(trained)), "no epoch is trained twice"
    assert run.recorder.parked_trials
    assert run.pool.most_at_once <= 3, "deterministic: 3"


def test_a_pruner_that_lets_trials_wait_loses_none_either(storage: BatchStorage, data: PreparedData) -> None:
    plain = {**STUDY, "pruner": {"name": "promotion", "min_resource": 1}, "train": {"epochs": 4}}
    del plain["deterministic"]
    run = Run(storage, data, [(3, 1), (5, 4), (9, 0)], more_when_empty=3)
    ending, record = run.run(plain)
    assert ending == "budget"
    assert record.finished == len(record.trials) == 12
    assert run.pauses


def test_the_trials_that_have_run_shortest_are_parked(storage: BatchStorage, data: PreparedData, clock: Clock) -> None:
    run = Run(storage, data, [(1, 3), (6, 1), (10, 4)], workers=1)

    def tick() -> None:
        clock.now += 1.0
        run.resize()

    run.recorder.after_epoch = tick
    _, record = run.run(
        {"budget": {"trials": 4}, "train": {"epochs": 6}, "pruner": {"name": "none"}, "search_space": LR}
    )
    assert sorted(number for number, _ in run.recorder.parked_trials) == [1, 2]
    assert not record.trials[0].resumed_from
    assert [list(trial.resumed_from) for trial in record.trials[1:3]] == [
        [epochs] for _, epochs in sorted(run.recorder.parked_trials)
    ]
    notes = [note for note in run.recorder.notes if "from now on" in note or "will be parked" in note]
    assert notes == [
        "3 workers (3 on cpu) from now on instead of 1, as anna asks",
        "1 worker (cpu) from now on instead of 3, as anna asks",
        "2 trials will be parked at the next epoch",
        "4 workers (4 on cpu) from now on instead of 1, as anna asks",
    ]
    estimates = [note for note in run.recorder.notes if note.startswith("estimated")]
    assert [note.rpartition(", ")[2] for note in estimates if "at a time" in note] == ["3 at a time)", "4 at a time)"]


def test_time_without_workers_does_not_count(
    storage: BatchStorage, data: PreparedData, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "time", clock)
    run = Run(storage, data, [(4, 0)])
    plain = {**STUDY, "budget": {"trials": 6, "timeout": "1h"}}

    def after_two_hours() -> None:
        clock.now += 7200.0
        run.after_a_pause()

    assert isinstance(run.pool, Resized)
    run.pool.when_empty = after_two_hours
    ending, record = run.run(plain)
    assert ending == "budget"
    assert record.finished == 6
    assert any(note.endswith("as anna asks: the study waits until it gets one again") for note in run.recorder.notes)


@pytest.mark.parametrize("resizes", [(), ((1, 0),)])
def test_the_time_of_a_trial_counts_over_all_of_its_executors(
    storage: BatchStorage, data: PreparedData, clock: Clock, resizes: Sequence[tuple[int, int]]
) -> None:
    run = Run(storage, data, resizes, workers=1)

    def tick() -> None:
        clock.now += 4.0
        run.resize()

    run.recorder.after_epoch = tick
    plain = {
        "budget": {"trials": 1, "trial_timeout": "10s"},
        "train": {"epochs": 9},
        "pruner": {"name": "none"},
        "search_space": LR,
    }
    _, record = run.run(plain)
    assert [(trial.reason, trial.epochs) for trial in record.trials] == [("timeout", 3)]
    assert run.pauses == len(resizes)


@dataclass
class Silent(Resized):
    """Never says that it has left the first trial that is parked."""

    clock: Clock = field(default_factory=Clock)
    silent_about: int | None = None

    def reports(self, timeout: float) -> list[Report | Died]:
        found = super().reports(timeout)
        if not found:
            self.clock.now += 20.0
        for report in found:
            if isinstance(report, Ended) and report.outcome == "stopped" and self.silent_about is None:
                self.silent_about = report.number
                return []
        return found


def test_an_executor_that_hangs_when_it_is_to_go_is_ended(
    storage: BatchStorage, data: PreparedData, clock: Clock
) -> None:
    run = Run(storage, data, [(2, 1)], workers=2, pool=Silent(Script(), clock=clock))
    plain = {"budget": {"trials": 3}, "train": {"epochs": 3}, "pruner": {"name": "none"}, "search_space": LR}
    ending, record = run.run(plain)
    assert ending == "budget"
    assert dict(record.counts) == {"COMPLETE": 3}
    assert isinstance(run.pool, Silent)
    assert run.pool.killed == [run.pool.silent_about]
    assert any("its executor hung when the trial had to stop, and ended" in note for note in run.recorder.notes)
    assert run.pool.workers == 1


def finds_out(clock: Clock, notes: list[str]) -> FindingWorkers:
    """How many executors should share a GPU on which all of them together train as much as one."""
    alone = Sharing(1, 1, 0.0, 1, 10**12, 10**12, 1000.0)
    question = OpenQuestion(("cpu",), alone, 64, 5.0, None)
    return FindingWorkers(question, 5, are_alike=True, note=notes.append, clock=clock.monotonic)


@pytest.mark.parametrize("deterministic", [3, None])
def test_it_finds_out_with_its_trials_how_many_executors_share_a_gpu(
    storage: BatchStorage, data: PreparedData, clock: Clock, deterministic: int | None
) -> None:
    """A trial that runs out of memory beside more executors goes on beside fewer. `deterministic` keeps the values."""
    plain = {key: value for key, value in STUDY.items() if deterministic or key != "deterministic"}
    _, record = Run(storage, data).run(plain)
    undisturbed = shown(record)
    pool = Resized(Script(disasters={1: [(1, "out_of_memory")]}), workers=0)
    run = Run(storage, data, workers=1, pool=pool)
    run.finding = finds_out(clock, run.recorder.notes)

    def tick() -> None:
        clock.now += 1.0 if run.pool.workers == 1 else 0.01  # two epochs end at a time, and take a second
        run.recorder.notes.append(f"{run.pool.workers} now")

    run.recorder.after_epoch = tick
    ending, record = run.run(plain | {"name": "finds-out"})
    assert ending == "budget"
    assert record.finished == len(record.trials) == 12
    assert not [trial.number for trial in record.trials if trial.reason == "out_of_memory"]
    assert [trial.number for trial in record.trials if trial.resumed_from] == [1]
    assert "2 now" in run.recorder.notes
    assert run.recorder.notes[-1] == "1 now"
    [said] = [note for note in run.recorder.notes if note.startswith("--workers auto")]
    assert said.endswith("; there can be no more now: memory ran out")
    assert sum(note.startswith("estimated") for note in run.recorder.notes) == 1, "it does not follow each try"
    trained = [(number, epoch) for number, epoch, _ in run.recorder.epochs]
    assert len(trained) == len(set(trained)), "no epoch is trained twice"
    if deterministic:
        assert shown(record) == undisturbed


@pytest.mark.parametrize("epoch", [4, 5, 6])
@pytest.mark.parametrize(
    ("outcome", "other"), [("out_of_memory", "killed for memory"), ("killed for memory", "out_of_memory")]
)
def test_all_trials_that_run_out_of_memory_beside_more_executors_go_on(
    storage: BatchStorage, data: PreparedData, clock: Clock, epoch: int, outcome: str, other: str
) -> None:
    """Also those that do so when the search is over, but executors that were too many still train."""
    plain = {**STUDY, "train": {"epochs": 8}, "pruner": {"name": "none"}}
    pool = Resized(Script(disasters={1: [(1, outcome)], 0: [(epoch, other), (7, other)]}), workers=0)
    run = Run(storage, data, workers=1, pool=pool)
    run.finding = finds_out(clock, run.recorder.notes)

    def tick() -> None:
        clock.now += 1.0 if run.pool.workers == 1 else 0.01

    run.recorder.after_epoch = tick
    _, record = run.run(plain)
    assert [trial.number for trial in record.trials if trial.resumed_from] == [0, 1]
    assert list(record.trials[0].resumed_from) == [epoch]
    out_of_memory = [trial.number for trial in record.trials if trial.reason == "out_of_memory"]
    assert out_of_memory == [0], "the second time, it was beside as few as it will ever be"


def test_who_asks_for_workers_ends_the_search(storage: BatchStorage, data: PreparedData, clock: Clock) -> None:
    run = Run(storage, data, [(2, 3)], workers=1)
    run.finding = finds_out(clock, run.recorder.notes)
    run.run(STUDY)
    assert run.pool.workers == 3
    assert not any(note.startswith("--workers auto") for note in run.recorder.notes)
