"""Finds out how many executors should share each GPU, with the trials of the study itself.

The study begins with one executor on each GPU. When their speed is known, there are twice as many, as long as that
trains enough more images at a time, and else as many as before. Nothing is trained for the measurement alone: all
trials count, and one whose executor has to go is parked and goes on in another.

Speeds are compared over the same trials, before and after. Where none has lived long enough, epochs are compared by
their seconds per multiply-add of the model.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean, geometric_mean

from cifar_tune.executors.gpu_sharing import OpenQuestion, Sharing, words
from cifar_tune.executors.messages import Began, Died, Ended, EpochDone, Refused, Report
from cifar_tune.executors.remembered import made_today, remember
from cifar_tune.training.results import EpochResult

_SECONDS = 2.0
"""Of training that are measured in each executor, first epochs left out."""

_FIRST_EPOCHS = 4
"""Of each executor, by which speed is judged where trials have hardly any others."""

_GAP_SECONDS = 1.0
"""So long an executor may be without a trial: one has ended, and the next one is begun."""

_PATIENCE_SECONDS = 300.0
"""So long an executor may be without a trial while more are tried, such as one that does not start."""

_DIFFERENT_TRIALS = 3
"""Whose epochs are compared where no trial has been trained before and after."""

_LIKE = 1.5
"""Epochs whose costs differ by less than this factor are much alike."""


@dataclass(frozen=True, slots=True)
class _Epoch:
    """An epoch of a trial: how long it took, and how long it should take beside those of other trials."""

    trial: int
    seconds: float
    cost: float

    @property
    def pace(self) -> float:
        return self.cost / self.seconds


@dataclass(slots=True)
class _Level:
    """What was measured with so many executors; `since` is when all of them had a trial."""

    sharing: Sharing
    since: float | None = None
    steady: list[_Epoch] = field(default_factory=list)
    first: list[_Epoch] = field(default_factory=list)

    @property
    def is_measured(self) -> bool:
        executors = self.sharing.executors
        seconds = sum(epoch.seconds for epoch in self.steady)
        if len(self.steady) >= executors and seconds >= _SECONDS * executors:
            return True
        return len(self.first) >= _FIRST_EPOCHS * executors

    @property
    def has_several(self) -> bool:
        """Whether trials of different size have been measured, as far as there are such."""
        return len({epoch.trial for epoch in self.epochs}) >= _DIFFERENT_TRIALS

    @property
    def epochs(self) -> list[_Epoch]:
        """By which it is judged alone."""
        return self.steady or self.first


class FindingWorkers:
    """Says when a run should have more or fewer executors.

    Args:
        question: what is to be found out, and what is known before.
        epochs: of a trial that is not pruned.
        are_alike: whether an epoch of each trial costs the same.
        note: is given messages for people.
        clock: seconds that go on.
    """

    def __init__(
        self,
        question: OpenQuestion,
        epochs: int,
        are_alike: bool,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._question = question
        self._epochs_each = epochs
        self._are_alike = are_alike
        self._note = note
        self._clock = clock
        self._costs: dict[int, float] = {}
        self._begun_at: dict[int, int] = {}  # epochs that each trial had when an executor began with it
        self._finished: dict[int, int] = {}  # epochs of each trial
        self._tried = [_Level(question.alone)]
        self._is_over = False
        self._is_sound = True
        self._problem = ""
        self._is_crowded = False  # executors that were too many still train
        self._went_back = False
        self._beside_fewer: set[int] = set()  # trials that run out of memory by their own fault
        self._taken_back: set[int] = set()
        self._without: float | None = None
        self._have_begun = True

    def hear(self, report: Report | Died) -> None:
        """Take in what an executor has said."""
        if self._is_over:
            if self._went_back:
                self._hear_afterwards(report)
            return
        match report:
            case Began():
                self._costs[report.number] = max(1.0, float(report.flops))
                self._begun_at[report.number] = len(report.results)
            case EpochDone():
                self._measure(report.number, report.result)
            case Refused():
                self._fail(report.message.partition("\n")[0])
            case Died():
                self._fail(report.cause)
                if report.out_of_memory and report.number is not None:
                    self._take_back(report.number)
            case Ended(outcome="out_of_memory"):
                self._fail("memory ran out")
                self._take_back(report.number)

    def _hear_afterwards(self, report: Report | Died) -> None:
        """Executors that were too many take memory from the others until they are gone, and several may miss it."""
        match report:
            case Began() if not self._is_crowded:
                self._beside_fewer.add(report.number)
            case Died(number=int(number), out_of_memory=True) | Ended(number=number, outcome="out_of_memory"):
                if number not in self._beside_fewer:
                    self._beside_fewer.add(number)  # it goes on once
                    self._taken_back.add(number)

    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self._is_over

    def stop(self) -> None:
        """Somebody else says from now on how many executors there are."""
        self._end(goes_back=len(self._tried) > 1)

    def see_who_leaves(self, anybody: bool) -> None:
        """Take in whether an executor that is to go still trains; to be told again and again once it is over."""
        self._is_crowded = self._is_crowded and anybody

    def takes_back(self, number: int) -> bool:
        """Whether trial `number` may have run out of memory only because of executors that were tried: it goes on."""
        if number not in self._taken_back:
            return False
        self._taken_back.remove(number)
        return True

    def look(self, busy: Collection[int], left: int) -> tuple[str, ...] | None:
        """The names of devices that the run should have an executor on from now on, each; None if nothing changes.

        Args:
            busy: trials that executors have begun with.
            left: trials that nobody has begun.
        """
        if self._is_over:
            return None
        level, now = self._tried[-1], self._clock()
        if self._problem:
            return self._settle(f"; there can be no more now: {self._problem}", goes_back=True)
        self._watch(level, len(busy), now)
        waits = 0.0 if self._without is None else now - self._without
        if len(self._tried) > 1 and waits > _PATIENCE_SECONDS:
            return self._settle("; more were given up, since some had no trial for 5 minutes", goes_back=True)
        if not level.is_measured or not self._is_comparable(level):
            return None
        if len(self._tried) == 1:
            paces = [self._question.alone.epoch_images / epoch.seconds for epoch in level.epochs]
            level.sharing = replace(level.sharing, images_per_second=level.sharing.executors * geometric_mean(paces))
        else:
            before = self._tried[-2]
            share, is_sound = _relative_speed(before, level)
            self._is_sound = self._is_sound and (is_sound or self._are_alike)
            total = before.sharing.images_per_second * share * level.sharing.executors / before.sharing.executors
            level.sharing = replace(level.sharing, images_per_second=total)
            if not level.sharing.is_worth_more_than(before.sharing):
                return self._settle("", goes_back=True)
        if not level.sharing.takes_twice_as_many(self._question.most):
            return self._settle("", goes_back=False)
        if self._ends_soon(level, left):
            return self._settle("; more were not tried, since the study ends soon", goes_back=False)
        return self._grow(level) if self._can_compare(level, busy) else None

    def _is_comparable(self, level: _Level) -> bool:
        """Whether it can be told how much faster trials train than before."""
        return self._are_alike or len(self._tried) == 1 or bool(_both(self._tried[-2], level)) or level.has_several

    def _can_compare(self, level: _Level, busy: Collection[int]) -> bool:
        """Whether it could be told of more executors: also a trial that trains now will train beside them."""
        if self._are_alike or level.has_several:
            return True
        for number, seconds in _means(level.steady).items():
            left = (self._epochs_each - self._finished[number]) * seconds
            if number in busy and left > self._question.start_seconds + 3 * seconds:
                return True
        return False

    def _measure(self, number: int, result: EpochResult) -> None:
        # Those that were added last are starting: the others still train as before.
        level = self._tried[-1 if self._have_begun else -2]
        seconds = result.seconds
        self._finished[number] = result.epoch
        if level.since is None or self._clock() - seconds < level.since or seconds <= 0:
            return  # it began before all of them trained
        epoch = _Epoch(number, seconds, self._costs.get(number, 1.0))
        is_first = result.epoch == self._begun_at.get(number, 0) + 1
        (level.first if is_first else level.steady).append(epoch)

    def _watch(self, level: _Level, busy: int, now: float) -> None:
        if not self._have_begun:
            self._have_begun = busy > self._tried[-2].sharing.executors
        if busy >= level.sharing.executors:
            self._without = None
            level.since = now if level.since is None else level.since
            return
        self._without = now if self._without is None else self._without
        if now - self._without > _GAP_SECONDS:
            level.since = None

    def _ends_soon(self, level: _Level, left: int) -> bool:
        """Whether more executors would have nothing to do, or not for long enough."""
        executors = level.sharing.executors
        seconds = fmean(epoch.seconds for epoch in level.epochs) * self._epochs_each * left / executors
        return left < executors or seconds < self._question.start_seconds

    def _grow(self, level: _Level) -> tuple[str, ...]:
        more = replace(level.sharing, each=2 * level.sharing.each, executors=2 * level.sharing.executors)
        self._tried.append(_Level(more))
        self._without = None
        self._have_begun = False
        return self._question.devices * more.each

    def _fail(self, problem: str) -> None:
        """An executor that is lost while more are tried may be lost because of them."""
        if len(self._tried) > 1:
            self._problem = problem
        else:
            self._tried[-1].since = None

    def _take_back(self, number: int) -> None:
        if self._problem:
            self._taken_back.add(number)

    def _settle(self, left_open: str, goes_back: bool) -> tuple[str, ...] | None:
        """Keep to the level before the last one, or to the last one."""
        self._end(goes_back)
        tried = [level.sharing for level in self._tried]
        chosen = tried[-2] if goes_back else tried[-1]
        measured = tried if not (goes_back and left_open) else tried[:-1]
        said = words(measured, chosen)
        for line in (said + left_open).split("\n"):
            self._note(line)
        most = self._question.most
        # Where others have taken the memory, there may be more room another time.
        is_final = chosen.takes_twice_as_many(most) == chosen.in_an_empty_gpu().takes_twice_as_many(most)
        if not left_open and is_final and self._is_sound:
            remember(self._question.path, made_today(chosen.each, chosen.peak_bytes, said))
        return self._question.devices * chosen.each if goes_back else None

    def _end(self, goes_back: bool) -> None:
        self._is_over = True
        self._went_back = self._is_crowded = goes_back


def _relative_speed(before: _Level, now: _Level) -> tuple[float, bool]:
    """How fast a trial trains now, relative to before, and whether like was compared with like."""
    both = _both(before, now)
    if both:
        return geometric_mean([old / new for old, new in both]), True
    olds, news = before.steady + before.first, now.steady + now.first
    for former, latter in ((before.steady, now.steady), (before.first, now.first)):
        if former and latter:
            olds, news = former, latter
            break
    costs = [geometric_mean([epoch.cost for epoch in epochs]) for epochs in (olds, news)]
    share = geometric_mean([epoch.pace for epoch in news]) / geometric_mean([epoch.pace for epoch in olds])
    return share, max(costs) < _LIKE * min(costs)


def _both(before: _Level, now: _Level) -> list[tuple[float, float]]:
    """Mean seconds of an epoch before and now, of each trial that was trained both before and now."""
    old, new = _means(before.steady), _means(now.steady)
    return [(old[trial], new[trial]) for trial in old.keys() & new.keys()]


def _means(epochs: Iterable[_Epoch]) -> dict[int, float]:
    """Mean seconds of the epochs of each trial."""
    found: dict[int, list[float]] = {}
    for epoch in epochs:
        found.setdefault(epoch.trial, []).append(epoch.seconds)
    return {trial: fmean(seconds) for trial, seconds in found.items()}
