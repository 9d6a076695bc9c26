"""A pool that grows and shrinks while a study runs.

A trial whose executor is to go is parked at its next epoch: it waits under its own number, and whichever executor is
free goes on with it. Without any executor the study waits, and its time stands still.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from cifar_tune.executors.pool import Executors
from cifar_tune.study.budget import ElapsedTime, Estimate
from cifar_tune.study.events import WantedDevices, Watch
from cifar_tune.study.finding_workers import FindingWorkers
from cifar_tune.study.trial import RunningTrial
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted


class Resizing:
    """Gives one run the executors that it is asked to have.

    Args:
        executors: the pool.
        spec: of the study.
        watch: says what is wanted, and is told what was done.
        estimate: counts on this many workers.
        elapsed: the study's time.
        finding: finds out how many executors there should be, until somebody asks for some; None: nobody does.
    """

    def __init__(
        self,
        executors: Executors,
        spec: StudySpec,
        watch: Watch,
        estimate: Estimate,
        elapsed: ElapsedTime,
        finding: FindingWorkers | None = None,
    ) -> None:
        self._finding = finding
        self._executors = executors
        self._spec = spec
        self._watch = watch
        self._estimate = estimate
        self._elapsed = elapsed

    def begin(self) -> None:
        """Say at the start of a run where `deterministic` leaves workers without a trial."""
        self._say_too_many()

    def look(self, running: Mapping[int, RunningTrial], left: int) -> None:
        """Change the pool if that is wanted.

        Args:
            running: the trials that executors train, by number.
            left: trials that nobody has begun.
        """
        wanted = self._watch.devices.take()
        if wanted is not None:
            if self._finding is not None:
                self._finding.stop()
            self._resize_as_asked(wanted, running)
        elif self._finding is not None and not self._finding.is_over():
            names = self._finding.look([number for number, trial in running.items() if trial.has_begun], left)
            if names is not None:
                self._resize(names, running)
            if self._finding.is_over():  # not before, since the number may change again in a moment
                self._estimate.resize(self._executors.workers)
        elif self._finding is not None:
            self._finding.see_who_leaves(any(map(self._executors.is_to_go, running)))
        self._elapsed.let_count(self._executors.workers > 0 or bool(running))

    def _resize(self, names: Sequence[str], running: Mapping[int, RunningTrial]) -> None:

        def seconds(number: int) -> float:
            return running[number].seconds if number in running else 0.0

        self._executors.resize(names, seconds)

    def _resize_as_asked(self, wanted: WantedDevices, running: Mapping[int, RunningTrial]) -> None:
        before = self._executors.workers
        self._resize(wanted.names, running)
        workers = self._executors.workers
        self._estimate.resize(workers)
        now = f"{counted(workers, 'worker')}{_on(wanted.names)}" if workers else "no worker"
        waits = "" if workers else ": the study waits until it gets one again"
        self._watch.observer.note(f"{now} from now on instead of {before}, as {wanted.by} asks{waits}")
        parked = sum(self._executors.is_to_go(number) for number in running)
        if parked:
            self._watch.observer.note(f"{counted(parked, 'trial')} will be parked at the next epoch")
        if workers > before:
            self._say_too_many()

    def _say_too_many(self) -> None:
        size, workers = self._spec.deterministic, self._executors.workers
        if size is not None and size < workers:
            self._watch.observer.note(f"deterministic: {size} lets {size} run at a time, of {workers} workers")


def _on(names: tuple[str, ...]) -> str:
    """The devices and how many workers each of them has, in parentheses."""
    each = Counter(names)
    return f" ({', '.join(name if count == 1 else f'{count} on {name}' for name, count in each.items())})"
