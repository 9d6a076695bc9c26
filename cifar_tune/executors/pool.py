"""A pool of executors: what the coordinator needs of it, and what all pools have in common."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
        """How many trials can run at a time; fewer than at first where executors refused, in the end none.

        Executors that are to go do not count.
        """
        ...

    def resize(self, devices: Sequence[str], seconds: Callable[[int], float]) -> None:
        """Have one executor for each of these names from now on, while trials go on. There may be none.

        Further executors are started, and nobody waits for them. Where there are too many on a device, those that are
        starting or idle end at once. Then those go whose trials have run shortest: each stays until its trial is
        `finished` or its process dead (see `is_to_go`), and gets no further job.

        Args:
            devices: names of devices; on a cluster only their number counts.
            seconds: how long a trial has run; 0 for one that has ended.
        """
        ...

    def is_to_go(self, number: int) -> bool:
        """Whether the executor of trial `number` ends as soon as that has left it: the trial should be parked."""
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
        """End the executor that trains trial `number` at once, without a word in `reports`, and begin another.

        One that is to go is not replaced.
        """
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
    """A place for an executor: `ready` once it has started, with the number of its trial while it has one.

    `device` is the name that was asked for. `is_to_go` says that it is given up as soon as its trial has left it.
    """

    index: int
    device: str
    ready: Ready | None = field(default=None, kw_only=True)
    trial: int | None = field(default=None, kw_only=True)
    is_to_go: bool = field(default=False, kw_only=True)

    @property
    def names(self) -> tuple[str, ...]:
        """What its device is called: as it was asked for, and once it has started also as it calls itself."""
        return (self.device,) if self.ready is None else (self.device, self.ready.device)


S = TypeVar("S", bound=Slot)


class Slots(ABC, Generic[S]):
    """The part of `Executors` that is the same for all pools: who has which trial."""

    def __init__(self) -> None:
        self._slots: list[S] = []
        self._kept: list[Report | Died] = []

    @property
    def workers(self) -> int:
        """How many trials can run at a time; fewer than at first where executors refused."""
        return sum(not slot.is_to_go for slot in self._slots)

    def resize(self, devices: Sequence[str], seconds: Callable[[int], float]) -> None:
        """See `Executors`. Those that were to go stay first of all, where there is room for them again."""
        missing = Counter(devices)

        def worth(slot: S) -> tuple[bool, float, bool]:
            return slot.trial is not None, 0.0 if slot.trial is None else seconds(slot.trial), slot.ready is not None

        for slot in sorted(self._slots, key=worth, reverse=True):
            name = next((name for name in slot.names if missing[name]), None)
            if name is not None:
                missing[name] -= 1
                slot.is_to_go = False
            elif slot.trial is None:
                self._end_for_good(slot)
            else:
                slot.is_to_go = True
        for device in missing.elements():
            self._slots.append(self._begin_on(device))

    def is_to_go(self, number: int) -> bool:
        """Whether the executor of trial `number` ends as soon as that has left it."""
        return any(slot.is_to_go for slot in self._with_trial(number))

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
            if slot.is_to_go:
                self._end_for_good(slot)

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
    def _begin_on(self, device: str) -> S:
        """Start an executor in a new slot, without waiting for it."""

    @abstractmethod
    def _end_for_good(self, slot: S) -> None:
        """End the slot's executor, which trains nothing, or not any more; the slot goes with it."""

    @abstractmethod
    def _replace(self, slot: S) -> None:
        """End the slot's executor, and begin another in its place unless the slot is to go."""

    @abstractmethod
    def _give_up(self, slot: S) -> None:
        """Do without the slot from now on: its executor has refused, or none can start there."""

    @abstractmethod
    def _hear(self, timeout: float) -> list[Report | Died]:
        """Wait for what executors say."""
