"""Executors on this machine: one process per slot, each bound to a device."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from cifar_tune.errors import UserError
from cifar_tune.executors.entry import HELD_BACK, work_in_process
from cifar_tune.executors.messages import Died, Job, Order, Quit, Ready, Refused, Report, Verdict

_GRACE_SECONDS = 35.0

Work = Callable[[Connection, str, int], None]
"""What an executor process does with its connection, its device and the index of its slot."""


@dataclass
class _Slot:
    index: int
    device: str
    process: BaseProcess
    connection: Connection
    ready: bool = False
    trial: int | None = None


class LocalExecutors:
    """A pool of executor processes.

    `devices` are given to the slots in turn. Processes are spawned, never forked: CUDA does not survive a fork.
    `work` can be replaced by something that speaks the same messages, to measure what is around the training.
    """

    def __init__(self, workers: int, devices: Sequence[str], work: Work = work_in_process) -> None:
        self._work = work
        self._context = multiprocessing.get_context("spawn")
        self._slots = [self._start(index, devices[index % len(devices)]) for index in range(workers)]
        self._kept: list[Report | Died] = []

    @property
    def workers(self) -> int:
        """How many trials can run at a time."""
        return len(self._slots)

    def idle(self) -> bool:
        """Whether an executor is ready for a job."""
        return any(slot.ready and slot.trial is None for slot in self._slots)

    def submit(self, job: Job) -> None:
        """Give a job to an idle executor."""
        slot = next(slot for slot in self._slots if slot.ready and slot.trial is None)
        slot.trial = job.number
        self._send(slot, job)

    def answer(self, number: int, verdict: Verdict) -> None:
        """Answer the executor that trains trial `number`."""
        slot = next((slot for slot in self._slots if slot.trial == number), None)
        if slot is not None:
            self._send(slot, verdict)

    def finished(self, number: int) -> None:
        """The executor of trial `number` is free again."""
        for slot in self._slots:
            if slot.trial == number:
                slot.trial = None

    def wait_for_start(self, impatient: Callable[[], None]) -> None:
        """Wait until every executor has started, so that a device that cannot be used is known before a study begins.

        `impatient` is called now and then and may raise.

        Raises:
            UserError: if an executor refuses its device.
        """
        heard: list[Report | Died] = []
        while len(heard) < len(self._slots):
            impatient()
            heard += self.reports(0.1)
            for report in heard:
                if isinstance(report, Refused):
                    raise UserError(report.message)
        self._kept = heard

    def reports(self, timeout: float) -> list[Report | Died]:
        """What executors have said, waiting up to `timeout` seconds for something. The dead are replaced."""
        if self._kept:
            kept, self._kept = self._kept, []
            return kept
        ready = wait([slot.connection for slot in self._slots], timeout)
        reports: list[Report | Died] = []
        for slot in list(self._slots):
            if slot.connection not in ready:
                continue
            try:
                report: Report = slot.connection.recv()
            except (EOFError, OSError):
                slot.process.join(_GRACE_SECONDS)
                reports.append(Died(slot.trial, slot.process.exitcode, slot.index))
                self._slots[slot.index] = self._start(slot.index, slot.device)
                continue
            slot.ready = slot.ready or isinstance(report, Ready)
            reports.append(report)
        return reports

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all executors: each finishes the checkpoint that it is writing, unless `at_once` says not to wait."""
        for slot in self._slots:
            self._send(slot, Quit())
        deadline = time.monotonic() + _GRACE_SECONDS
        for slot in self._slots:
            # one that is still importing has nothing to lose
            while slot.ready and slot.process.is_alive() and not at_once() and time.monotonic() < deadline:
                slot.process.join(0.1)
            if slot.process.is_alive():
                slot.process.kill()
                slot.process.join()
            slot.connection.close()

    def _send(self, slot: _Slot, order: Order) -> None:
        with suppress(OSError):  # it died: `reports` will say so
            slot.connection.send(order)

    def _start(self, index: int, device: str) -> _Slot:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=self._work, args=(theirs, device, index), name=f"cifar-tune executor {index}", daemon=True
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        theirs.close()
        return _Slot(index, device, process, ours)
