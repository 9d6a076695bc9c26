"""The process that trains trials: one device, one job at a time, told by the coordinator when to stop.

The main thread trains. A second thread listens, so that `Quit`, or a coordinator that is gone, ends the process at
any moment: it waits for the checkpoint that is being written, and leaves the unfinished epoch behind.
"""

import os
import queue
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

from cifar_tune.errors import UserError
from cifar_tune.executors.job_training import JobTrainer
from cifar_tune.executors.messages import Job, Order, Quit, Ready, Refused, Rehearsal, Report, Verdict, WarmUp
from cifar_tune.training.device import environment, resolve_device
from cifar_tune.training.probe import room
from cifar_tune.training.repeatability import hide_torchs_words

_QUIT_SECONDS = 30.0


def work(connection: Connection, device_name: str, slot: int) -> None:
    """Serve jobs until told to quit. The target of an executor process."""
    hide_torchs_words()
    try:
        device = _device_of_slot(device_name, slot)
    except UserError as error:
        with suppress(OSError):  # the coordinator is gone
            connection.send(Refused(str(error)))
        return
    _Executor(connection, device).serve()


class _Executor:
    def __init__(self, connection: Connection, device: torch.device) -> None:
        self._connection = connection
        self._device = device
        self._jobs: queue.SimpleQueue[Job | Rehearsal | WarmUp] = queue.SimpleQueue()
        self._verdicts: queue.SimpleQueue[Verdict] = queue.SimpleQueue()
        self._trainer = JobTrainer(device, str(device), lambda: self._verdicts.get().go_on)

    def serve(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        count = torch.cuda.device_count() if self._device.type == "cuda" else 1
        self._send(Ready(str(self._device), environment(self._device), count, room(self._device)[0]))
        while True:
            order = self._jobs.get()
            if isinstance(order, WarmUp):
                if not self._trainer.warm_up(order, self._jobs.empty):
                    os._exit(1)  # another process can use the device
                continue
            reports = self._trainer.rehearse(order) if isinstance(order, Rehearsal) else self._trainer.run(order)
            for report in reports:
                self._send(report)

    def _send(self, report: Report) -> None:
        try:
            self._connection.send(report)
        except OSError:  # the coordinator is gone
            self._leave()

    def _listen(self) -> None:
        while True:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):  # the coordinator is gone
                order = Quit()
            match order:
                case Job() | Rehearsal() | WarmUp():
                    self._jobs.put(order)
                case Verdict():
                    self._verdicts.put(order)
                case Quit():
                    self._leave()

    def _leave(self) -> None:
        """End the process without waiting for the step that runs right now, but not in the middle of a checkpoint."""
        timer = threading.Timer(_QUIT_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()
        self._trainer.finish_checkpoint()
        os._exit(0)


def _device_of_slot(name: str, slot: int) -> torch.device:
    """Several executors on `auto` are spread over the GPUs."""
    device = resolve_device(name)
    if name == "auto" and device.type == "cuda":
        return torch.device("cuda", slot % torch.cuda.device_count())
    return device
