"""Trains one trial after the other on one device, as a generator of reports: whoever consumes it carries them."""

import os
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import Literal

import torch

from cifar_tune.data.folds import STUDY_PART, Part
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import (
    Began,
    Broken,
    Ended,
    EpochDone,
    Job,
    Notice,
    Prepared,
    Rehearsal,
    Rehearsed,
    WarmUp,
)
from cifar_tune.executors.warming import warm_up
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.models.build import count_multiply_adds
from cifar_tune.plugins.load import load_plugins
from cifar_tune.training import probe
from cifar_tune.training.checkpoint import CheckpointError, CheckpointWriter
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.device import bind, configure
from cifar_tune.training.failures import Diverged, is_device_lost, is_out_of_memory, release
from cifar_tune.training.loop import Training
from cifar_tune.training.probe import images_per_epoch, peak_memory, room

JobReport = Began | EpochDone | Notice | Broken | Ended


class JobTrainer:
    """Trains jobs on one device and keeps the images there from one to the next.

    Args:
        device: where it trains.
        place: the device, for people; on a cluster with its machine.
        goes_on: asked after every `Began` and `EpochDone` whether the trial goes on; it may block.
    """

    def __init__(self, device: torch.device, place: str, goes_on: Callable[[], bool]) -> None:
        bind(device)
        self._device = device
        self._place = place
        self._goes_on = goes_on
        self._writer: CheckpointWriter | None = None
        self._data: tuple[DataSpec, Part, ResidentData] | None = None
        self._said: set[str] = set()

    def load_data(self, spec: DataSpec, part: Part = STUDY_PART) -> ResidentData:
        """The images on the device; decoded into the cache first where they are not there.

        Raises:
            UserError: the images are not available or cannot be read.
        """
        if self._data is None or self._data[:2] != (spec, part):
            self._data = None  # there may be no room for two
            self._data = (spec, part, ResidentData(part.of(prepare(spec), spec), self._device))
        return self._data[2]

    def run(self, job: Job) -> Iterator[JobReport]:
        """Train one trial. The last report is `Ended`: whatever goes wrong is the trial's end, not the executor's.

        Only after an error that leaves the device unusable for this process it is `Broken`.
        """
        end: Ended | Broken
        try:
            end = yield from self._train(job)
        except Exception as error:  # noqa: BLE001 (a failure of any kind belongs to the trial that met it)
            end = _end_after(job, error)
        # Not in the handler, where the error's traceback still holds the model; and before the report, since whoever
        # hears it may begin another trial on the same GPU.
        if not isinstance(end, Broken):
            release(self._device)
        yield end

    def rehearse(self, order: Rehearsal) -> Iterator[Prepared | Rehearsed]:
        """Train for a moment beside others. What goes wrong shows again when a trial meets it."""
        last: Prepared | Rehearsed | None = None
        prepared = False
        try:
            for report in self._rehearse(order):
                prepared = True
                yield report
        except Exception as error:  # noqa: BLE001 (of whatever kind)
            problem = _first_line(error) or type(error).__name__
            last = Rehearsed(problem=problem) if prepared else Prepared(problem=problem)
        release(self._device)  # not in the handler, as above
        if last is not None:
            yield last

    def warm_up(self, order: WarmUp, is_idle: Callable[[], bool]) -> bool:
        """See `cifar_tune.executors.warming.warm_up`."""
        return warm_up(order, self._device, lambda: self.load_data(order.data), is_idle)

    def finish_checkpoint(self) -> None:
        """Wait for the checkpoint that is being written, and take no further one. Any thread may call it."""
        writer = self._writer
        if writer is not None:
            writer.finish()

    def _rehearse(self, order: Rehearsal) -> Iterator[Prepared | Rehearsed]:
        vocabulary = vocabulary_with(load_plugins(order.plugins))
        data = self.load_data(order.data)
        peak = peak_memory([Configuration(each, vocabulary) for each in order.largest], data, self._device)
        training = probe.Rehearsal(Configuration(order.typical, vocabulary), data, self._device)
        yield Prepared(peak, *room(self._device), images_per_epoch(data))
        if self._goes_on():
            yield Rehearsed(training.images_per_second(order.seconds))

    def _train(self, job: Job) -> Generator[JobReport, None, Ended]:
        config = Configuration(job.config, vocabulary_with(load_plugins(job.plugins)))
        configure(config, self._device)
        data = self.load_data(job.data, job.part)
        training = yield from _begun(
            job, lambda: Training(config, data, self._device, measures=job.measures, told=job.told)
        )
        flops = count_multiply_adds(config, data.image_shape, len(data.classes))
        results = tuple(training.results)
        yield Began(job.number, self._place, training.parameters, flops, training.precision, results)
        if not self._goes_on():
            return Ended(job.number, "stopped")
        self._writer = writer = CheckpointWriter(job.checkpoint, _digests(job))
        try:
            outcome = yield from self._train_epochs(job, training, writer)
        finally:
            writer.finish()
            self._writer = None  # not before it is finished: the process may be told to end meanwhile
        try:
            writer.flush()
        except CheckpointError as error:
            yield Notice(job.number, str(error))
        return Ended(job.number, outcome)

    def _train_epochs(
        self, job: Job, training: Training, writer: CheckpointWriter
    ) -> Generator[JobReport, None, Literal["completed", "stopped"]]:
        parts = training.accumulation.parts
        for result in training.epochs():
            for remark in training.remarks:
                if remark not in self._said:  # once is enough: the next trials are much alike
                    self._said.add(remark)
                    yield Notice(job.number, remark)
            if training.accumulation.parts != parts:
                parts = training.accumulation.parts
                yield Notice(job.number, training.accumulation.words)
            try:
                writer.write(training.state_dict())
            except CheckpointError as error:  # a full disk is no reason to lose the training too
                yield Notice(job.number, str(error))
            yield EpochDone(job.number, result, parts)
            if not self._goes_on():
                return "stopped"
        return "completed"


def _begun(job: Job, build: Callable[[], Training]) -> Generator[Notice, None, Training]:
    """A training that goes on from its checkpoint, if there is one that can be used; else a new one."""
    training = build()
    if not os.path.lexists(job.checkpoint):
        return training
    try:
        go_on(training, job.checkpoint, _digests(job), [plugin.sha256 for plugin in job.plugins])
    except CheckpointError as error:
        problem = str(error)
    else:
        return training
    del training  # it is half loaded; and there may be no room for two
    yield Notice(job.number, f"starts again: its checkpoint cannot be used: {problem}")
    return build()


def _digests(job: Job) -> list[str]:
    return [plugin.identity for plugin in job.plugins]


def _end_after(job: Job, error: Exception) -> Ended | Broken:
    """What an error of the training means for its trial; to be called while it is handled."""
    if isinstance(error, Diverged):
        return Ended(job.number, "diverged", str(error))
    if isinstance(error, UserError):
        return Ended(job.number, "refused", str(error))
    if is_out_of_memory(error):
        return Ended(job.number, "out_of_memory", _first_line(error))
    if is_device_lost(error):
        return Broken(job.number, _first_line(error))
    return Ended(job.number, "error", traceback.format_exc())


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else ""
