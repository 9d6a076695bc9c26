"""How many executors share a GPU, found out with the trials of a study. The GPU and the time are played."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cifar_tune.executors.gpu_sharing import OpenQuestion, Sharing
from cifar_tune.executors.messages import Began, Died, Ended, EpochDone
from cifar_tune.executors.remembered import remembered
from cifar_tune.study.finding_workers import FindingWorkers

from .scripted import result

GB = 1 << 30
IMAGES = 1000.0
"""Of an epoch, with its validation."""

Rate = Callable[[int], float]
"""Work per second of so many executors together."""


@dataclass
class Trial:
    """`cost` is the work of an epoch; `flops` are what the model is said to cost."""

    number: int
    cost: float
    flops: int
    epochs: int
    done: int = 0
    left: float = 0.0
    since: float = 0.0


@dataclass
class Played:
    """A study on one GPU. Executors take `start` seconds to start, and `between` seconds to begin with a trial."""

    rate: Rate
    trials: list[Trial]
    workers: int = 1
    start: float = 5.0
    between: float = 0.02
    disaster: Callable[["Played", Trial], Died | Ended | None] = lambda _played, _trial: None
    now: float = 100.0
    most: int = 0
    repeated: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.waiting = list(self.trials)
        self.busy: list[Trial] = []
        self.free = [self.now] * self.workers
        self.finished: list[int] = []

    def run(self, finding: FindingWorkers | None) -> float:
        """Seconds until all trials have ended, of which none is lost and no epoch is trained twice."""
        began = self.now
        while self.waiting or self.busy:
            self.take_up(finding)
            if finding is not None:
                names = finding.look([trial.number for trial in self.busy], len(self.waiting))
                if names is not None:
                    self.devices = names
                    self.resize(len(names))
            self.go_on(finding)
        assert sorted(self.finished) == [trial.number for trial in self.trials]
        assert all(trial.done == trial.epochs for trial in self.trials)
        return self.now - began

    def resize(self, workers: int) -> None:
        self.levels.append(workers)
        more = workers - self.workers
        self.workers = workers
        self.free += [self.now + self.start] * more
        while self.free and len(self.free) + len(self.busy) > workers:
            self.free.pop()

    def take_up(self, finding: FindingWorkers | None) -> None:
        while self.waiting and any(at <= self.now for at in self.free):
            self.free.remove(next(at for at in self.free if at <= self.now))
            trial = self.waiting.pop(0)
            trial.left, trial.since = trial.cost, self.now
            self.busy.append(trial)
            if finding is not None:
                done = tuple(result(epoch, 0.5) for epoch in range(1, trial.done + 1))
                finding.hear(Began(trial.number, "cuda:0", 0, trial.flops, "bf16", done))
        self.most = max(self.most, len(self.busy))

    def go_on(self, finding: FindingWorkers | None) -> None:
        """To the end of the next epoch, or until an executor is free; at most a second, as the coordinator polls."""
        pace = self.rate(len(self.busy)) / len(self.busy) if self.busy else 1.0
        events = [trial.left / pace for trial in self.busy]
        events += [at - self.now for at in self.free if at > self.now]
        seconds = min([*events, 1.0])
        self.now += seconds
        for trial in self.busy:
            trial.left -= seconds * pace
        for trial in [trial for trial in self.busy if trial.left <= 1e-9]:
            self.end_epoch(trial, finding)

    def end_epoch(self, trial: Trial, finding: FindingWorkers | None) -> None:
        bad = self.disaster(self, trial)
        if bad is not None and finding is not None:
            finding.hear(bad)
            assert isinstance(bad, Died) or finding.takes_back(trial.number), "a trial would be lost"
            self.repeated.append(trial.number)
            self.leave(trial)
            self.waiting.insert(0, trial)
            return
        trial.done += 1
        if finding is not None:
            finding.hear(EpochDone(trial.number, result(trial.done, 0.5, self.now - trial.since)))
        trial.left, trial.since = trial.cost, self.now
        if trial.done == trial.epochs:
            self.finished.append(trial.number)
            self.leave(trial)
        elif len(self.busy) > self.workers and trial is self.busy[-1]:
            self.leave(trial)
            self.waiting.insert(0, trial)

    def leave(self, trial: Trial) -> None:
        self.busy.remove(trial)
        if len(self.busy) + len(self.free) < self.workers:
            self.free.append(self.now + self.between)


def question(most: int = 64, room: int = 80 * GB, path: Path | None = None) -> OpenQuestion:
    return OpenQuestion(("cuda:0",), Sharing(1, 1, 0.0, 2 * GB, room, 80 * GB, IMAGES), most, 5.0, path)


def saturates_at(most: float) -> Rate:
    return lambda executors: min(float(executors), most)


def alike(count: int, epochs: int = 10, cost: float = 1.0) -> list[Trial]:
    return [Trial(number, cost, 1000, epochs) for number in range(count)]


def mixed(count: int, told: bool, seed: int = 0, epochs: tuple[int, int] = (2, 9)) -> list[Trial]:
    """Trials whose costs lie up to ten times apart; without `told`, all of them are said to cost the same."""
    draw = random.Random(seed)  # noqa: S311
    costs = [draw.choice([0.3, 1.0, 3.0]) for _ in range(count)]
    return [
        Trial(number, cost, round(1000 * cost) if told else 1000, draw.randint(*epochs))
        for number, cost in enumerate(costs)
    ]


def tried(played: Played, asked: OpenQuestion, epochs: int = 10, are_alike: bool = False) -> tuple[float, list[str]]:
    notes: list[str] = []
    return played.run(FindingWorkers(asked, epochs, are_alike, notes.append, lambda: played.now)), notes


@pytest.mark.parametrize(
    ("rate", "most", "room", "chosen", "paces"),
    [
        (saturates_at(2.5), 64, 80, 4, "1: 1,000, 2: 2,000, 4: 2,500, 8: 2,500"),
        (saturates_at(1.0), 64, 80, 1, "1: 1,000, 2: 1,000"),
        (saturates_at(8.0), 2, 80, 2, "1: 1,000, 2: 2,000"),  # of cores or trials at a time
        (saturates_at(8.0), 64, 8, 2, "1: 1,000, 2: 2,000"),  # four times the largest model needs more memory
    ],
)
def test_as_many_as_train_more_together(
    rate: Rate, most: int, room: int, chosen: int, paces: str, tmp_path: Path
) -> None:
    path = tmp_path / "workers.json"
    played = Played(rate, alike(40), between=0.0)
    _, notes = tried(played, question(most, room * GB, path))
    assert played.workers == chosen
    assert notes == [
        f"--workers auto: {chosen} on each GPU; images/s by executors per GPU: {paces}; the largest model takes "
        "2.1 GB of 85.9"
    ]
    kept = remembered(path)
    assert (None if kept is None else kept.each) == (None if room == 8 else chosen), "an empty GPU would take more"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("told", "epochs"), [(True, (2, 9)), (True, (1, 1)), (True, (1, 3)), (False, (12, 20))])
@pytest.mark.parametrize(("most", "chosen"), [(1.0, 1), (2.0, 2), (4.0, 4)])
def test_trials_of_different_size(
    most: float, chosen: int, told: bool, epochs: tuple[int, int], seed: int, tmp_path: Path
) -> None:
    """Short ones are compared by what their models cost; what these are said to cost does not matter for long ones."""
    played = Played(saturates_at(most), mixed(120, told, seed, epochs))
    tried(played, question(path=tmp_path / "workers.json"), epochs[1])
    assert played.workers == chosen


@pytest.mark.parametrize(("are_alike", "lost"), [(True, 12.0), (False, 25.0)])
@pytest.mark.parametrize("most", [1.0, 1.1, 1.5, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("seconds", [20, 60, 600])
def test_it_is_never_slower_than_one_and_soon_as_fast_as_the_best(
    seconds: int, most: float, are_alike: bool, lost: float
) -> None:
    """Of a study that takes this long with one executor. Where trials may differ, it looks at several of them."""
    trials = seconds // 5
    fixed = {workers: Played(saturates_at(most), alike(trials, 5), workers).run(None) for workers in (1, 2, 4, 8)}
    auto, _ = tried(Played(saturates_at(most), alike(trials, 5)), question(), 5, are_alike)
    assert auto < 1.01 * fixed[1]
    assert auto - 1.15 * min(fixed.values()) < lost


def test_an_executor_that_dies_while_more_are_tried(tmp_path: Path) -> None:
    """There are as many as before, and another run may try it again; a death before that changes nothing."""

    def dies(played: Played, trial: Trial) -> Died | None:
        dies_alone = played.workers == 1 and trial.done == 1 and not played.repeated
        dies_among_others = len(played.busy) == 4 and len(played.repeated) == 1
        return Died(trial.number, "exit code 3") if dies_alone or dies_among_others else None

    path = tmp_path / "workers.json"
    played = Played(saturates_at(8.0), alike(40), disaster=dies)
    _, notes = tried(played, question(path=path))
    assert len(played.repeated) == 2
    assert played.levels == [2, 4, 2]
    assert notes[0].startswith("--workers auto: 2 on each GPU; images/s by executors per GPU: 1: 1,000, 2: 2,000; ")
    assert notes[0].endswith("; there can be no more now: exit code 3")
    assert not path.exists()


def test_all_gpus_get_as_many() -> None:
    alone = Sharing(1, 2, 0.0, 2 * GB, 80 * GB, 80 * GB, IMAGES)
    played = Played(saturates_at(4.0), alike(90), workers=2, between=0.0)
    _, notes = tried(played, OpenQuestion(("cuda:0", "cuda:1"), alone, 64, 5.0, None))
    assert (played.levels, played.devices) == ([4, 8, 4], ("cuda:0", "cuda:1", "cuda:0", "cuda:1"))
    assert "2 on each GPU; images/s by executors per GPU: 1: 2,000, 2: 4,000, 4: 4,000;" in notes[0]


def test_executors_that_do_not_start_are_given_up(tmp_path: Path) -> None:
    path = tmp_path / "workers.json"
    played = Played(saturates_at(8.0), alike(40), start=1e6)
    _, notes = tried(played, question(path=path))
    assert played.levels == [2, 1]
    assert notes[0].endswith("; more were given up, since some had no trial for 5 minutes")
    assert not path.exists()


def test_a_trial_that_runs_out_of_memory_beside_more_goes_on_beside_fewer(tmp_path: Path) -> None:
    def runs_out(played: Played, trial: Trial) -> Ended | None:
        full = played.workers == 4 and len(played.busy) == 4
        return Ended(trial.number, "out_of_memory") if full and len(played.repeated) < 1 else None

    path = tmp_path / "workers.json"
    played = Played(saturates_at(8.0), alike(40), disaster=runs_out)
    _, notes = tried(played, question(path=path))
    assert (len(played.repeated), played.levels) == (1, [2, 4, 2])
    assert notes[0].endswith("; there can be no more now: memory ran out")
    assert not path.exists()


def test_a_trial_that_runs_out_of_memory_alone_does_not_go_on() -> None:
    finding = FindingWorkers(question(), 10, False, lambda _note: None, lambda: 0.0)
    finding.hear(Began(3, "cuda:0", 0, 1000, "bf16", ()))
    finding.hear(Ended(3, "out_of_memory"))
    assert not finding.takes_back(3)


def test_near_the_end_of_a_study_nothing_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "workers.json"
    played = Played(saturates_at(8.0), alike(2, epochs=5, cost=0.9))
    _, notes = tried(played, question(path=path), 5)
    assert played.levels == []
    assert notes[0].endswith("; more were not tried, since the study ends soon")
    assert not path.exists()


def test_who_asks_for_workers_gets_them() -> None:
    notes: list[str] = []
    played = Played(saturates_at(8.0), alike(10))
    finding = FindingWorkers(question(), 10, False, notes.append, lambda: played.now)
    finding.stop()
    played.run(finding)
    assert (played.levels, notes) == ([], [])


def test_unlike_trials_leave_no_answer_behind(tmp_path: Path) -> None:
    """A trial of its own on each level, of other costs: it is decided, but the next run finds out again."""
    trials = [Trial(0, 1.0, 1000, 3), *(Trial(number, 10.0, 10_000, 3) for number in range(1, 12))]
    path = tmp_path / "workers.json"
    played = Played(saturates_at(2.0), trials)
    _, notes = tried(played, question(2, path=path), 3)
    assert (played.workers, len(notes)) == (2, 1)
    assert not path.exists()
