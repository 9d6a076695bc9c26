"""Finds out by trying how many executors should share a GPU: as many as raise the total speed and fit the memory."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

from joblib import cpu_count

from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Died, Order, Prepared, Refused, Rehearsal, Rehearsed, Verdict, WarmUp
from cifar_tune.executors.remembered import decision_file, made_today, remember, remembered
from cifar_tune.executors.starting import Work, work_in_process
from cifar_tune.wording import estimated_duration, rough_duration

_CONTEXT_BYTES = 1 << 30
"""What a process takes on a GPU beside what torch counts: CUDA's context, kernels and libraries; about half of it."""

_SPARED = 0.05
"""Share of the memory that is left alone."""

_WORTH = 1.15
"""Twice as many executors must train this many times as many images: each of them is slower, and costs a core."""

_MOST_EACH = 8
"""Executors on one GPU: each holds a copy of the images there, and hundreds of megabytes of the machine's memory."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Some executors on each of some GPUs, and what they trained when all of them trained at a time.

    Attributes:
        each: executors per GPU.
        executors: how many there are.
        images_per_second: of all together.
        peak_bytes: what torch holds for the study's largest configuration.
        room_bytes: what all executors on one GPU may take together, but for the context of the first.
        total_bytes: the memory of a GPU.
        epoch_images: how many images could be trained on in the time of an epoch and its validation.
    """

    each: int
    executors: int
    images_per_second: float
    peak_bytes: int
    room_bytes: int
    total_bytes: int
    epoch_images: float

    def takes_twice_as_many(self, most: int) -> bool:
        """Whether memory suffices if all train the largest configuration at a time, and no more than `most` run."""
        wanted = 2 * self.each
        has_room = fits(wanted, self.peak_bytes, self.room_bytes)
        return has_room and wanted <= _MOST_EACH and 2 * self.executors <= most

    def in_an_empty_gpu(self) -> "Sharing":
        """The same, if no other program had any of the memory."""
        return replace(self, room_bytes=self.total_bytes)

    def doubled(self, paces: Sequence[float]) -> "Sharing":
        """The same GPUs with twice as many executors on each, which trained this many images per second."""
        return replace(self, each=2 * self.each, executors=len(paces), images_per_second=sum(paces))

    def study_seconds(self, rehearsal: Rehearsal) -> float:
        """How long a whole study takes at most, if nothing is pruned; infinite where that is not known."""
        limit = math.inf if rehearsal.study_seconds is None else rehearsal.study_seconds
        if rehearsal.epochs is None:
            return limit
        return min(limit, rehearsal.epochs * self.epoch_images / self.images_per_second)

    def is_worth_more_than(self, fewer: "Sharing") -> bool:
        """Whether it trains enough more images."""
        return self.images_per_second > _WORTH * fewer.images_per_second


def fits(each: int, peak_bytes: int, room_bytes: int) -> bool:
    """Whether this many executors have room on a GPU, if all train the largest configuration at a time."""
    return each * peak_bytes + (each - 1) * _CONTEXT_BYTES <= (1 - _SPARED) * room_bytes


def alone(prepared: Sequence[Prepared], paces: Sequence[float]) -> Sharing:
    """One executor on each GPU: what they said of their memory, and how they trained."""
    return Sharing(
        1,
        len(paces),
        sum(paces),
        max(each.peak_bytes for each in prepared),
        min(each.room_bytes for each in prepared),
        min(each.total_bytes for each in prepared),
        prepared[0].images,
    )


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """How many executors should share each GPU is to be found out with the trials of a study.

    Attributes:
        devices: the GPUs.
        alone: one executor on each of them, with a speed that is not known yet.
        most: executors that are of any use.
        start_seconds: that an executor takes until it can train.
        path: where the answer is kept.
    """

    devices: tuple[str, ...]
    alone: Sharing
    most: int
    start_seconds: float
    path: Path | None


def words(tried: Sequence[Sharing], chosen: Sharing) -> str:
    """The decision and its figures, for people."""
    paces = ", ".join(f"{each.each}: {each.images_per_second:,.0f}" for each in tried)
    return (
        f"--workers auto: {chosen.each} on each GPU; images/s by executors per GPU: {paces}; the largest model "
        f"takes {chosen.peak_bytes / 1e9:.2g} GB of {chosen.total_bytes / 1e9:.3g}"
    )


_REHEARSAL_SECONDS = 300.0
"""Of each part of a rehearsal; the first one may compile."""

_DEAREST = 0.1
"""Share of the time that the whole study takes, at the speed found so far: no try is made that takes longer."""

_NO_MORE = "--workers auto: 1 on each GPU, since more could not be tried"

A = TypeVar("A", Prepared, Rehearsed)


class SharingExecutors(LocalExecutors):
    """As many executors as the cores of a CPU take, or as train most on GPUs.

    Args:
        rehearsal: what executors train for a moment on GPUs.
        devices: see `LocalExecutors`.
        threads: see `LocalExecutors`.
        note: see `LocalExecutors`.
        work: see `LocalExecutors`.
        patience: seconds after which no further number of executors is tried.
        warm_up: see `LocalExecutors`.
        rehearses: whether it is tried before the study begins; else one executor on each GPU finds out what memory the
            largest models take, and `question` is left to be answered.

    Attributes:
        question: what is left to be found out after the start; None if nothing.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        devices: Sequence[str],
        threads: int,
        note: Callable[[str], None],
        work: Work = work_in_process,
        patience: float = math.inf,
        warm_up: WarmUp | None = None,
        rehearses: bool = True,
    ) -> None:
        super().__init__(None, devices, threads, note, work, warm_up)
        self.question: OpenQuestion | None = None
        self._rehearses = rehearses
        self._rehearsal = rehearsal
        self._patience = patience
        self._began = time.monotonic()

    def wait_for_start(self, data: DataSpec, fingerprint: str, impatient: Callable[[], None]) -> None:
        """See `Executors`; then try how many executors should share each GPU, unless that is known."""
        self._began = time.monotonic()
        super().wait_for_start(data, fingerprint, impatient)

    def _share(self, impatient: Callable[[], None]) -> None:
        """As many executors on each GPU as an earlier run found best; else find it out."""
        ready = [slot.ready for slot in self._slots if slot.ready is not None]
        if not all(each.device.startswith("cuda") for each in ready):
            return
        path = decision_file(self._rehearsal, ready[0].environment, len(ready))
        known = remembered(path)
        room = min(each.room_bytes for each in ready)
        if known is None or not fits(known.each, known.peak_bytes, room):
            if self._rehearses:
                self._find_out(path, impatient)
            else:
                self._ask(path, impatient)
            return
        try:
            self._start_more((known.each - 1) * len(ready), impatient)
        except UserError as error:
            self._note_lines(f"--workers auto: 1 on each GPU, since there is no room for {known.each}: {error}")
        else:
            self._note(f"{known.words} (found on {known.found})")

    def _ask(self, path: Path | None, impatient: Callable[[], None]) -> None:
        """Find out what memory the largest models take, before any trial runs beside them."""
        devices = tuple(slot.ready.device for slot in self._slots if slot.ready is not None)
        most = min(int(cpu_count()), self._rehearsal.most)
        if most < 2 * len(devices):
            return
        try:
            prepared = self._answers(self._rehearsal, Prepared, impatient)
        except _RehearsalFailed as error:  # a trial will meet it again
            self._note_lines(f"{_NO_MORE}: {error}")
            return
        for slot in self._slots:
            self._give(slot, Verdict(go_on=False))
        seconds = time.monotonic() - self._began
        self.question = OpenQuestion(devices, alone(prepared, [0.0] * len(devices)), most, seconds, path)

    def _find_out(self, path: Path | None, impatient: Callable[[], None]) -> None:
        """Double the executors on each GPU as long as they train more images together, at the same time."""
        try:
            tried = [chosen] = [alone(*self._rehearse(impatient))]
        except _RehearsalFailed as error:  # a trial will meet it again
            self._note_lines(f"{_NO_MORE}: {error}")
            return
        doubling = time.monotonic() - self._began  # as long as it took to start and to try the first ones
        most = min(int(cpu_count()), self._rehearsal.most)
        left_open = ""
        while chosen.takes_twice_as_many(most):
            left_open = self._too_dear(chosen, doubling)
            if left_open:
                break
            before = len(self._slots)
            try:
                self._start_more(before, impatient)
                found = chosen.doubled(self._rehearse(impatient)[1])
            except (UserError, _RehearsalFailed) as error:  # those that there were do without them
                left_open = f"; there can be no more now: {error}"
                self._give_up_from(before)
                break
            tried.append(found)
            if not found.is_worth_more_than(chosen):
                self._give_up_from(before)
                break
            chosen = found
        said = words(tried, chosen)
        self._note_lines(said + left_open)
        # Where others have taken the memory, there may be more room another time.
        if not left_open and chosen.takes_twice_as_many(most) == chosen.in_an_empty_gpu().takes_twice_as_many(most):
            remember(path, made_today(chosen.each, chosen.peak_bytes, said))

    def _too_dear(self, chosen: Sharing, seconds: float) -> str:
        """Why twice as many executors, which take this many seconds to start and to try, are not tried; or nothing."""
        rest = chosen.study_seconds(self._rehearsal)
        if seconds > _DEAREST * rest:
            return (
                f"; more were not tried, since that takes {estimated_duration(seconds)}, and the whole study "
                f"{rough_duration(rest)}"
            )
        if time.monotonic() - self._began + seconds > self._patience:
            return "; `run --workers auto` tries more"
        return ""

    def _note_lines(self, text: str) -> None:
        """Note what ends with an error, which may have several problems: a note is one line."""
        for line in text.split("\n"):
            self._note(line)

    def _start_more(self, count: int, impatient: Callable[[], None]) -> None:
        """Start more executors, and wait for them; if one refuses, do without all of them.

        Raises:
            UserError: one refuses.
        """
        before = len(self._slots)
        self._slots += [self._start(index) for index in range(before, before + count)]
        try:
            self._hear_all(impatient)
        except UserError:
            self._kept = [report for report in self._kept if not isinstance(report, Refused)]
            self._give_up_from(before)
            raise

    def _rehearse(self, impatient: Callable[[], None]) -> tuple[list[Prepared], list[float]]:
        """What each executor said of its memory, and its images per second while all of them trained at a time."""
        prepared = self._answers(self._rehearsal, Prepared, impatient)
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
                    report = self._report_if_ended(slot)
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
