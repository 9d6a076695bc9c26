"""A pool of executors: what the coordinator needs of it, and what all pools have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.messages import Died, Job, Ready, Report, Verdict


class Executors(Protocol):
    """A pool of executors: what a run and its coordinator need of one, wherever the executors are."""

    def wait_for_start(self, data: DataSpec, fingerprint: str, impatient: Callable[[], None]) -> None:
        """Start the executors, so that a device that cannot be used is known before a study begins.

        Args:
            data: where the images are.
            fingerprint: of the images that the coordinator has prepared.
            impatient: called now and then; an exception that it raises ends the waiting.

        Raises:
            UserError: an executor refuses its device or the images.
            CheckError: none can start.
        """
        ...

    @property
    def workers(self) -> int:
        """How many trials can run at a time; fewer than at first where executors refused, in the end none."""
        ...

    def idle(self) -> bool:
        """Whether an executor is ready for a job."""
        ...

    def submit(self, job: Job) -> None:
        """Give a job to an idle executor."""
        ...

    def answer(self, number: int, verdict: Verdict) -> None:
        """Answer the executor that trains trial `number`."""
        ...

    def finished(self, number: int) -> None:
        """The executor of trial `number` is free again."""
        ...

    def kill(self, number: int) -> None:
        """End the executor that trains trial `number` at once, without a word in `reports`, and begin another."""
        ...

    def give_up(self, index: int) -> None:
        """Do without the executor in the slot of this index from now on, since none can start there."""
        ...

    def reports(self, timeout: float) -> list[Report | Died]:
        """What executors have said. One that `Refused` is given up."""
        ...

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all executors."""
        ...


MOST_FALSE_STARTS = 3
"""Executors of one slot that may die before they are ready, one after the other."""


@dataclass
class Slot:
    """A place for an executor: `ready` once it has started, with the number of its trial while it has one."""

    index: int
    ready: Ready | None = field(default=None, kw_only=True)
    trial: int | None = field(default=None, kw_only=True)


S = TypeVar("S", bound=Slot)


class Slots(ABC, Generic[S]):
    """The part of `Executors` that is the same for all pools: who has which trial."""

    def __init__(self) -> None:
        self._slots: list[S] = []
        self._kept: list[Report | Died] = []

    @property
    def workers(self) -> int:
        """How many trials can run at a time; fewer than at first where executors refused."""
        return len(self._slots)

    def idle(self) -> bool:
        """Whether an executor is ready for a job."""
        return any(True for _ in self._free())

    def submit(self, job: Job) -> None:
        """Give a job to an idle executor."""
        slot = next(self._free())
        slot.trial = job.number
        self._give(slot, job)

    def answer(self, number: int, verdict: Verdict) -> None:
        """Answer the executor that trains trial `number`."""
        for slot in self._with_trial(number):
            self._give(slot, verdict)

    def finished(self, number: int) -> None:
        """The executor of trial `number` is free again."""
        for slot in self._with_trial(number):
            slot.trial = None

    def kill(self, number: int) -> None:
        """End the executor that trains trial `number`, whatever it does right now, and begin another."""
        for slot in self._with_trial(number):
            self._replace(slot)

    def give_up(self, index: int) -> None:
        """Do without the executor in the slot of this index from now on, since none can start there."""
        for slot in [slot for slot in self._slots if slot.index == index]:
            self._give_up(slot)

    def reports(self, timeout: float) -> list[Report | Died]:
        """What executors have said, waiting up to `timeout` seconds for something.

        The dead are replaced. An executor that refuses is not: another one there would refuse too.
        """
        if self._kept:
            kept, self._kept = self._kept, []
            return kept
        return self._hear(timeout)

    def _free(self) -> Iterator[S]:
        return (slot for slot in self._slots if slot.ready is not None and slot.trial is None)

    def _with_trial(self, number: int) -> list[S]:
        return [slot for slot in self._slots if slot.trial == number]

    @abstractmethod
    def _give(self, slot: S, order: Job | Verdict) -> None:
        """Hand it to the slot's executor."""

    @abstractmethod
    def _replace(self, slot: S) -> None:
        """End the slot's executor, and begin another in its place."""

    @abstractmethod
    def _give_up(self, slot: S) -> None:
        """Do without the slot from now on: its executor has refused, or none can start there."""

    @abstractmethod
    def _hear(self, timeout: float) -> list[Report | Died]:
        """Wait for what executors say."""
