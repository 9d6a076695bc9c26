"""Executors that train nothing: they play a script, at once, in this process."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cifar_tune.executors.messages import Began, Died, Ended, EpochDone, Job, Ready, Report, Verdict
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.results import EpochResult, is_over

Curve = Callable[[Configuration, int], float]
"""Validation accuracy of a configuration after an epoch."""


def result(epoch: int, accuracy: float, seconds: float = 1.0) -> EpochResult:
    """An epoch with this validation accuracy."""
    return EpochResult(
        epoch=epoch,
        train_loss=1 - accuracy,
        train_accuracy=accuracy,
        val_loss=1 - accuracy,
        val_accuracy=accuracy,
        lr=0.1,
        seconds=seconds,
    )


@dataclass
class Script:
    """What happens to trials. `disasters[number]` holds what happens each time the trial is given out, in order.

    A disaster is `(epoch, outcome)`: after that many finished epochs the trial ends so, or its executor dies or is
    never heard of again (`hangs`).
    """

    curve: Curve = lambda config, epoch: config.number("lr") * epoch / 10
    disasters: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    parameters: Callable[[Configuration], int] = lambda config: 1000
    seconds: Callable[[Configuration], float] = lambda config: 1.0
    measures: Callable[[EpochResult, str], float] = lambda result, name: result.val_accuracy / 2


@dataclass
class ScriptedExecutors:
    """A pool of `workers` that follows a script. `checkpoints` holds what a disk would hold."""

    script: Script
    workers: int = 1
    checkpoints: dict[int, list[EpochResult]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    most_at_once: int = 0
    closed: bool = False
    killed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._trials: dict[int, Iterator[Report | Died | None]] = {}
        self._verdicts: dict[int, bool] = {}
        self._to_go: set[int] = set()
        self._reports: deque[Report | Died] = deque([Ready("scripted", {"torch": "none"}) for _ in range(self.workers)])
        self._ready = 0

    def wait_for_start(self, *_arguments: object) -> None:
        """It has started."""

    def resize(self, devices: Sequence[str], seconds: Callable[[int], float]) -> None:
        self.workers = len(devices)
        busy = sorted(self._trials, key=seconds, reverse=True)
        self._to_go = set(busy[self.workers :])
        for _ in range(self.workers + len(self._to_go) - self._ready):
            self._reports.append(Ready("scripted", {"torch": "none"}))
        self._ready = min(self._ready, self.workers + len(self._to_go))

    def is_to_go(self, number: int) -> bool:
        return number in self._to_go

    def idle(self) -> bool:
        return len(self._trials) < self._ready

    def submit(self, job: Job) -> None:
        assert self.idle(), "a job was given to a busy pool"
        self.jobs.append(job)
        self._verdicts.pop(job.number, None)
        self._trials[job.number] = self._play(job)
        in_training = [
            number for number in self._trials if self._verdicts.get(number, True)
        ]  # others were told to leave
        self.most_at_once = max(self.most_at_once, len(in_training))
        self._next(job.number)

    def answer(self, number: int, verdict: Verdict) -> None:
        self._verdicts[number] = verdict.go_on
        self._next(number)

    def finished(self, number: int) -> None:
        self._leave(number)

    def kill(self, number: int) -> None:
        self._leave(number)
        self.killed.append(number)

    def give_up(self, index: int) -> None:
        self.workers -= 1

    def reports(self, timeout: float) -> list[Report | Died]:
        if not self._reports:
            return []
        report = self._reports.popleft()
        if isinstance(report, Ready):
            self._ready += 1
        if isinstance(report, Died) and report.number is not None:
            self._leave(report.number)
        return [report]

    def close(self, at_once: Callable[[], bool]) -> None:
        self.closed = True

    def _leave(self, number: int) -> None:
        self._trials.pop(number)
        self._ready -= number in self._to_go
        self._to_go.discard(number)

    def _next(self, number: int) -> None:
        report = next(self._trials[number])
        if report is not None:
            self._reports.append(report)

    def _play(self, job: Job) -> Iterator[Report | Died | None]:
        config = Configuration(job.config)
        disaster = (self.script.disasters.get(job.number) or [(10**9, "")]).pop(0)
        done = self.checkpoints.setdefault(job.number, [])
        yield Began(job.number, "scripted", self.script.parameters(config), 50_000, "fp32", tuple(done))
        while self._verdicts[job.number] and not is_over(config, done):
            if len(done) >= disaster[0]:
                yield self._disaster(job.number, disaster[1])
            epoch = len(done) + 1
            plain = result(epoch, self.script.curve(config, epoch), self.script.seconds(config))
            done.append(replace(plain, measures={name: self.script.measures(plain, name) for name in job.measures}))
            yield EpochDone(job.number, done[-1])
        yield Ended(job.number, "completed" if self._verdicts[job.number] else "stopped")

    def _disaster(self, number: int, outcome: str) -> Report | Died | None:
        if outcome == "hangs":
            return None
        if outcome == "killed for memory":
            return Died(number, "killed by the system", out_of_memory=True)
        if outcome == "died":
            return Died(number, "exit code -9")
        return Ended(number, outcome, f"scripted {outcome}")  # type: ignore[arg-type]
