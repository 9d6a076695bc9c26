"""Finds out by trying how many executors should share a GPU: as many as raise the total speed and fit the memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import TypeVar

from joblib import cpu_count

from cifar_tune.errors import UserError
from cifar_tune.executors.local import LocalExecutors, LocalSlot
from cifar_tune.executors.messages import Died, Order, Prepared, Refused, Rehearsal, Rehearsed, Verdict
from cifar_tune.executors.starting import Work, work_in_process

_CONTEXT_BYTES = 1 << 30
"""What a process takes on a GPU beside what torch counts: CUDA's context, kernels and libraries; about half of it."""

_SPARED = 0.05
"""Share of the memory that is left alone."""

_WORTH = 1.15
"""Twice as many executors must train so many times as many images: each of them is slower, and costs a core."""

_MOST_EACH = 8
"""Executors on one GPU: each holds a copy of the images there, and hundreds of megabytes of the machine's memory."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """So many executors on each of some GPUs, and what they trained when all of them trained at a time.

    Attributes:
        each: executors per GPU.
        executors: how many there are.
        images_per_second: of all together.
        peak_bytes: what torch holds for the study's largest configuration.
        room_bytes: what all executors on one GPU may take together, but for the context of the first.
        total_bytes: the memory of a GPU.
    """

    each: int
    executors: int
    images_per_second: float
    peak_bytes: int
    room_bytes: int
    total_bytes: int

    def takes_twice_as_many(self, most: int) -> bool:
        """Whether memory suffices if all train the largest configuration at a time, and no more than `most` run."""
        wanted = 2 * self.each
        needed = wanted * self.peak_bytes + (wanted - 1) * _CONTEXT_BYTES
        has_room = needed <= (1 - _SPARED) * self.room_bytes
        return has_room and wanted <= _MOST_EACH and 2 * self.executors <= most

    def with_more(self, each: int, paces: Sequence[float]) -> "Sharing":
        """The same GPUs with `each` executors, which trained so many images per second."""
        return replace(self, each=each, executors=len(paces), images_per_second=sum(paces))

    def is_worth_more_than(self, fewer: "Sharing") -> bool:
        """Whether it trains enough more images."""
        return self.images_per_second > _WORTH * fewer.images_per_second


def alone(prepared: Sequence[Prepared], paces: Sequence[float]) -> Sharing:
    """One executor on each GPU: what they said of their memory, and how they trained."""
    return Sharing(
        1,
        len(paces),
        sum(paces),
        max(each.peak_bytes for each in prepared),
        min(each.room_bytes for each in prepared),
        min(each.total_bytes for each in prepared),
    )


def words(tried: Sequence[Sharing], chosen: Sharing) -> str:
    """The decision and its figures, for people."""
    paces = ", ".join(f"{each.each}: {each.images_per_second:,.0f}" for each in tried)
    return (
        f"--workers auto: {chosen.each} on each GPU; images/s by executors per GPU: {paces}; the largest model "
        f"takes {chosen.peak_bytes / 1e9:.2g} GB of {chosen.total_bytes / 1e9:.3g}"
    )


_REHEARSAL_SECONDS = 300.0
"""Of each part of a rehearsal; the first one may compile."""

A = TypeVar("A", Prepared, Rehearsed)


class SharingExecutors(LocalExecutors):
    """As many executors as the cores of a CPU take, or as train most on GPUs.

    Args:
        rehearsal: what executors train for a moment on GPUs.
        devices: see `LocalExecutors`.
        threads: see `LocalExecutors`.
        note: see `LocalExecutors`.
        work: see `LocalExecutors`.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        devices: Sequence[str],
        threads: int,
        note: Callable[[str], None],
        work: Work = work_in_process,
    ) -> None:
        super().__init__(None, devices, threads, note, work)
        self._rehearsal = rehearsal

    def _share(self, impatient: Callable[[], None]) -> None:
        """Double the executors on each GPU as long as they train more images together, at the same time."""
        rehearsal = self._rehearsal
        if not all(_is_on_gpu(slot) for slot in self._slots):
            return
        try:
            tried = [chosen] = [alone(*self._rehearse(rehearsal, impatient))]
        except _RehearsalFailed as error:  # a trial will meet it again
            self._note(f"--workers auto: 1 on each GPU, since more could not be tried: {error}")
            return
        gpus = len(self._slots)
        while chosen.takes_twice_as_many(min(int(cpu_count()), rehearsal.most)):
            before = len(self._slots)
            self._slots += [self._start(index) for index in range(before, 2 * before)]
            try:
                self._hear_all(impatient)
                found = chosen.with_more(len(self._slots) // gpus, self._rehearse(rehearsal, impatient)[1])
            except (UserError, _RehearsalFailed) as error:  # those that there were do without them
                self._kept = [report for report in self._kept if not isinstance(report, Refused)]
                self._note(f"--workers auto: more than {chosen.each} on each GPU cannot be had: {error}")
                self._give_up_from(before)
                break
            tried.append(found)
            if not found.is_worth_more_than(chosen):
                self._give_up_from(before)
                break
            chosen = found
        self._note(words(tried, chosen))

    def _rehearse(self, rehearsal: Rehearsal, impatient: Callable[[], None]) -> tuple[list[Prepared], list[float]]:
        """What each executor said of its memory, and its images per second while all of them trained at a time."""
        prepared = self._answers(rehearsal, Prepared, impatient)
        rehearsed = self._answers(Verdict(go_on=True), Rehearsed, impatient)
        return prepared, [each.images_per_second for each in rehearsed]

    def _answers(self, order: Order, kind: type[A], impatient: Callable[[], None]) -> list[A]:
        """Give an order to all, and hear them. Where one fails, all are replaced."""
        for slot in self._slots:
            self._give(slot, order)
        deadline = time.monotonic() + _REHEARSAL_SECONDS
        answers: dict[int, A] = {}
        problem = ""
        while not problem and len(answers) < len(self._slots):
            impatient()
            ready = wait([slot.connection for slot in self._slots], 0.1)
            for slot in [slot for slot in self._slots if slot.connection in ready]:
                report = self._receive(slot)
                while report is None:  # it is ending
                    impatient()
                    slot.process.join(0.1)
                    report = self._bury_if_dead(slot)
                if isinstance(report, kind):
                    answers[slot.index] = report
                    problem = problem or report.problem
                elif isinstance(report, Died):
                    problem = report.cause
                else:
                    self._kept.append(report)
            if time.monotonic() > deadline:
                problem = f"no answer within {_REHEARSAL_SECONDS:.0f} s"
        if problem:
            for slot in list(self._slots):  # whatever they hold, or do
                self._replace(slot)
            raise _RehearsalFailed(problem)
        return list(answers.values())

    def _give_up_from(self, index: int) -> None:
        for slot in self._slots[index:]:
            self._give_up(slot)


class _RehearsalFailed(Exception):  # noqa: N818 (it is caught here)
    """Why executors could not be tried."""


def _is_on_gpu(slot: LocalSlot) -> bool:
    return slot.ready is not None and slot.ready.device.startswith("cuda")
