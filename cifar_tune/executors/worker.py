"""The process that trains trials: one device, one job at a time, told by the coordinator when to stop.

The main thread trains. A second thread listens, so that `Quit`, or a coordinator that is gone, ends the process at
any moment: it waits for the checkpoint that is being written, and leaves the unfinished epoch behind.
"""

import os
import queue
import threading
import traceback
from multiprocessing.connection import Connection

import torch

from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job, Notice, Order, Quit, Ready, Refused, Verdict
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.plugin import plug_in
from cifar_tune.models.complexity import count_multiply_adds
from cifar_tune.plugins.load import load_plugins
from cifar_tune.training.checkpoint import CheckpointError, load
from cifar_tune.training.checkpoint_writer import CheckpointWriter
from cifar_tune.training.device import configure, environment, resolve_device
from cifar_tune.training.divergence import Diverged
from cifar_tune.training.loop import Training
from cifar_tune.training.memory import is_out_of_memory

_QUIT_SECONDS = 30.0


def work(connection: Connection, device_name: str, slot: int) -> None:
    """Serve jobs until told to quit. The target of an executor process."""
    try:
        device = _device_of_slot(device_name, slot)
    except UserError as error:
        connection.send(Refused(str(error)))
        return
    _Executor(connection, device).serve()


class _Executor:
    def __init__(self, connection: Connection, device: torch.device) -> None:
        self._connection = connection
        self._device = device
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._verdicts: queue.SimpleQueue[Verdict] = queue.SimpleQueue()
        self._writer: CheckpointWriter | None = None
        self._data: tuple[DataSpec, ResidentData] | None = None

    def serve(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        self._connection.send(Ready(str(self._device), environment(self._device)))
        while True:
            job = self._jobs.get()
            self._connection.send(self._run(job))

    def _listen(self) -> None:
        while True:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):  # the coordinator is gone
                order = Quit()
            match order:
                case Job():
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
        writer = self._writer
        if writer is not None:
            writer.finish()
        os._exit(0)

    def _run(self, job: Job) -> Ended:
        """Train one trial; whatever goes wrong is its end, not the end of the executor."""
        try:
            return self._train(job)
        except Diverged as error:
            return Ended(job.number, "diverged", str(error))
        except UserError as error:
            return Ended(job.number, "refused", str(error))
        except Exception as error:  # noqa: BLE001 (a failure of any kind belongs to the trial that met it)
            if is_out_of_memory(error):
                self._free_memory()
                return Ended(job.number, "out_of_memory", str(error).splitlines()[0] if str(error) else "")
            return Ended(job.number, "error", traceback.format_exc())

    def _train(self, job: Job) -> Ended:
        plug_in(load_plugins(job.plugins))
        config = Configuration(job.config)
        configure(config.integer("threads"), self._device)
        data = self._load_data(job.data)
        training = Training(config, data, self._device)
        self._take_up(job, training, config, data)
        results = tuple(training.results)
        flops = count_multiply_adds(config, data.image_shape, len(data.classes))
        device = str(self._device)
        self._connection.send(Began(job.number, device, training.parameters, flops, training.precision, results))
        if not self._verdicts.get().go_on:
            return Ended(job.number, "stopped")
        self._writer = CheckpointWriter(job.checkpoint)
        try:
            return self._train_epochs(job, training, self._writer)
        finally:
            self._close(job, self._writer)
            self._writer = None  # not before it is closed: `Quit` may come while the last checkpoint is written

    def _train_epochs(self, job: Job, training: Training, writer: CheckpointWriter) -> Ended:
        for result in training.epochs():
            try:
                writer.write(training.state_dict())
            except CheckpointError as error:  # a full disk is no reason to lose the training too
                self._connection.send(Notice(job.number, str(error)))
            self._connection.send(EpochDone(job.number, result))
            if not self._verdicts.get().go_on:
                return Ended(job.number, "stopped")
        return Ended(job.number, "completed")

    def _take_up(self, job: Job, training: Training, config: Configuration, data: ResidentData) -> None:
        """Go on from the checkpoint, if there is one that can be used."""
        if not job.checkpoint.exists():
            return
        try:
            training.load_state_dict(load(job.checkpoint, config, data.fingerprint))
        except CheckpointError as error:
            self._connection.send(Notice(job.number, f"it starts again, since its checkpoint is of no use: {error}"))

    def _close(self, job: Job, writer: CheckpointWriter) -> None:
        try:
            writer.close()
        except CheckpointError as error:
            self._connection.send(Notice(job.number, str(error)))

    def _load_data(self, spec: DataSpec) -> ResidentData:
        if self._data is None or self._data[0] != spec:
            self._data = (spec, ResidentData(prepare(spec), self._device))
        return self._data[1]

    def _free_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _device_of_slot(name: str, slot: int) -> torch.device:
    """Several executors on `auto` are spread over the GPUs."""
    device = resolve_device(name)
    if name == "auto" and device.type == "cuda":
        return torch.device("cuda", slot % torch.cuda.device_count())
    return device
