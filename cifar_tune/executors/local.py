"""Executors on this machine: one process per slot, each bound to a device."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait

from joblib import cpu_count

from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import (
    Broken,
    Died,
    Ended,
    Order,
    Quit,
    Ready,
    Refused,
    Report,
    WarmUp,
)
from cifar_tune.executors.oom_kills import OomKills
from cifar_tune.executors.pool import MOST_FALSE_STARTS, Slot, Slots
from cifar_tune.executors.starting import ExecutorProcess, Starter, Work, work_in_process

_GRACE_SECONDS = 35.0
_KILLED_SECONDS = 1.0
"""A process that was killed is gone at once, unless the system holds it in a call: then nobody waits for it."""
_DYING_SECONDS = 0.1


@dataclass
class LocalSlot(Slot):
    """A place for a process. `until` is set once its connection is closed: this long it may take to end.

    `is_first` says that no other process was here before.
    """

    process: ExecutorProcess
    connection: Connection
    until: float | None = field(default=None, kw_only=True)
    is_first: bool = field(default=True, kw_only=True)


class LocalExecutors(Slots[LocalSlot]):
    """A pool of executor processes; see `Starter`.

    Args:
        workers: how many; None for as many as the cores take on a CPU, and one for each GPU or named device.
        devices: names of devices, given to the slots in turn.
        threads: how many threads a trial uses at most on a CPU.
        note: is given messages for people.
        work: what an executor process does; something else that speaks the same messages can stand in for training.
        warm_up: what executors do until they get their first job; None: nothing.
    """

    def __init__(
        self,
        workers: int | None,
        devices: Sequence[str],
        threads: int,
        note: Callable[[str], None],
        work: Work = work_in_process,
        warm_up: WarmUp | None = None,
    ) -> None:
        super().__init__()
        self._warm_up = warm_up
        self._starter = Starter(work)
        self._devices = devices
        self._wanted = workers
        self._threads = threads
        self._note = note
        self._oom_kills = OomKills()
        self._next_index = 0

    def wait_for_start(self, data: DataSpec, fingerprint: str, impatient: Callable[[], None]) -> None:
        """Start every executor and wait for it, so that a device that cannot be used is known before a study begins.

        `impatient` is called now and then and may raise. The images are those that the coordinator has prepared.

        Raises:
            UserError: if an executor refuses its device.
        """
        self._slots = [self._started_first(impatient)]
        self._slots += [self._start(index) for index in range(1, self._wanted or len(self._devices))]
        self._hear_all(impatient)
        if self._wanted is None:
            self._slots += [self._start(index) for index in range(len(self._slots), self._most_useful())]
            self._hear_all(impatient)
            self._share(impatient)
        on_cpu = sum(slot.ready is not None and slot.ready.device == "cpu" for slot in self._slots)
        if on_cpu * self._threads > cpu_count():
            self._note(
                f"{on_cpu} at a time with `threads: {self._threads}` need {on_cpu * self._threads} cores, and this "
                f"machine offers {cpu_count()}: they slow each other down; `--workers auto` fits the cores"
            )

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all executors: each finishes the checkpoint that it is writing, unless `at_once` says not to wait."""
        self._starter.close()
        for slot in self._slots:
            self._give(slot, Quit())
        deadline = time.monotonic() + _GRACE_SECONDS
        for slot in self._slots:
            # one that is still importing has nothing to lose
            while slot.ready is not None and slot.process.is_alive() and not at_once() and time.monotonic() < deadline:
                slot.process.join(0.1)
            self._end(slot)
        self._slots.clear()

    def _hear_all(self, impatient: Callable[[], None]) -> None:
        """Wait until the executors of all slots are ready. Where several die in a row, the coordinator does without.

        Raises:
            UserError: one refuses.
        """
        deaths: Counter[int] = Counter()
        while any(slot.ready is None and deaths[slot.index] < MOST_FALSE_STARTS for slot in self._slots):
            impatient()
            heard = self._hear(0.1)
            self._kept += heard
            for report in heard:
                if isinstance(report, Refused):
                    raise UserError(report.message)
                if isinstance(report, Died):
                    deaths[report.slot] += 1

    def _hear(self, timeout: float) -> list[Report | Died]:
        dying = [slot for slot in self._slots if slot.until is not None]
        listening = [slot for slot in self._slots if slot.until is None]
        ready = wait([slot.connection for slot in listening], min(timeout, _DYING_SECONDS) if dying else timeout)
        self._oom_kills.look_if_due()
        heard = [self._receive(slot) for slot in listening if slot.connection in ready]
        return [report for report in (*heard, *map(self._report_if_ended, dying)) if report is not None]

    def _receive(self, slot: LocalSlot) -> Report | Died | None:
        """What the slot's executor has said; None if it has closed its connection and has yet to end."""
        try:
            report: Report = slot.connection.recv()
        except (EOFError, OSError):
            slot.ready, slot.until = None, time.monotonic() + _GRACE_SECONDS
            return self._report_if_ended(slot)
        match report:
            case Ready():
                slot.ready = report
                # One that takes the place of another begins with a trial at once. And should the other one have died
                # of it, this one does not.
                if self._warm_up is not None and slot.is_first:
                    self._give(slot, self._warm_up)
            case Refused():
                self._give_up(slot)
            case Broken():
                self._replace(slot)
                return Died(slot.trial, report.cause, slot.index)
            case Ended(outcome="out_of_memory"):  # what it still holds must not be missing for the next trial
                self._replace(slot)
        return report

    def _report_if_ended(self, slot: LocalSlot) -> Died | None:
        """The others are heard meanwhile: a process can take its time to end, or hang in that."""
        if not slot.process.is_alive():
            return self._report_death(slot)
        if slot.until is None or time.monotonic() < slot.until:
            return None
        self._replace(slot)
        return Died(slot.trial, "it did not end by itself, and was killed", slot.index)

    def _report_death(self, slot: LocalSlot) -> Died:
        code = slot.process.exitcode
        was_out_of_memory = code == -signal.SIGKILL and self._oom_kills.explains_a_death()
        self._replace(slot)
        if was_out_of_memory:
            return Died(slot.trial, "killed by the system, since memory ran out", slot.index, out_of_memory=True)
        return Died(slot.trial, f"exit code {code}", slot.index)

    def _replace(self, slot: LocalSlot) -> None:
        if slot.is_to_go:
            self._give_up(slot)
            return
        self._end(slot)
        self._slots[self._slots.index(slot)] = replace(self._start_on(slot.device, slot.index), is_first=False)

    def _give_up(self, slot: LocalSlot) -> None:
        self._end(slot)
        self._slots.remove(slot)

    def _end_for_good(self, slot: LocalSlot) -> None:
        self._give_up(slot)

    def _begin_on(self, device: str) -> LocalSlot:
        return self._start_on(device, self._next_index)  # false starts are counted by index

    def _end(self, slot: LocalSlot) -> None:
        slot.process.kill()
        slot.process.join(_KILLED_SECONDS)
        slot.process.forget()
        slot.connection.close()

    def _most_useful(self) -> int:
        """How many executors the only device that was named can take; of several devices each takes one."""
        ready = self._slots[0].ready
        if len(self._devices) > 1 or ready is None:
            return len(self._slots)
        if ready.device == "cpu":
            return cpu_workers(self._threads)
        return ready.devices if self._devices[0] == "auto" else 1

    def _share(self, impatient: Callable[[], None]) -> None:
        """Let more executors share a device, where one on each leaves room: not here."""

    def _give(self, slot: LocalSlot, order: Order) -> None:
        with suppress(OSError):  # it died: `reports` will say so
            slot.connection.send(order)

    def _start(self, index: int) -> LocalSlot:
        return self._start_on(self._devices[index % len(self._devices)], index)

    def _start_on(self, device: str, index: int) -> LocalSlot:
        self._next_index = max(self._next_index, index + 1)
        return LocalSlot(index, device, *self._starter.start(device, index))

    def _started_first(self, impatient: Callable[[], None]) -> LocalSlot:
        thread = futures.ThreadPoolExecutor(1)
        first = thread.submit(self._start, 0)
        thread.shutdown(wait=False)
        while not first.done():
            impatient()
            futures.wait([first], 0.1)
        return first.result()


def cpu_workers(threads: int) -> int:
    """How many trials of this many threads the cores take at a time, of those that a container may use."""
    return max(1, int(cpu_count()) // threads)
