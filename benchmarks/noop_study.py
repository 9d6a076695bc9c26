"""A study that trains nothing: what is left is coordination."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna

from benchmarks.pools import play
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Began, EpochDone, Job
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.pruners.build import build_pruner
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.coordinator import Coordinator
from cifar_tune.study.events import Observer, StopRequests, Watch
from cifar_tune.study.opening import open_study
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from cifar_tune.training.results import EpochResult

EPOCHS = 30

_PLAIN: dict[str, Any] = {
    "name": "noop",
    "data": {"name": "digits"},
    "train": {"model": "cnn3", "optimizer": "sgd", "epochs": EPOCHS},
    "search_space": {
        "lr": {"low": 1e-4, "high": 1.0, "log": True},
        "momentum": {"low": 0.5, "high": 0.99},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
        "label_smoothing": {"low": 0.0, "high": 0.2},
        "activation": {"choices": ["relu", "leaky_relu", "elu", "silu"]},
        "batch_size": {"choices": [64, 128, 256, 512]},
    },
}


def noop_spec(trials: int, sampler: str = "tpe", pruner: str = "hyperband") -> StudySpec:
    """Seven searched knobs, 30 epochs."""
    sections = {"budget": {"trials": trials}, "sampler": {"name": sampler}, "pruner": {"name": pruner}}
    return read_study(Document(_PLAIN | sections), None).spec


def value_after(epoch: int) -> float:
    """The validation accuracy of every trial after an epoch.

    All trials have the same, so that the pruner does its work at every epoch, and ends none of them.
    """
    return 0.1 + 0.8 * epoch / EPOCHS


def work_nothing(connection: Connection, device: str, _slot: int) -> None:
    """Answer a coordinator as an executor does, without torch and without training. The target of a process."""
    play(connection, device, _epochs)


def _epochs(job: Job) -> Iterator[Began | EpochDone]:
    yield Began(job.number, "cpu", 1_488_458, 40_000_000, "fp32", ())
    for epoch in range(1, EPOCHS + 1):
        value = value_after(epoch)
        yield EpochDone(job.number, EpochResult(epoch, 1 - value, value, 1 - value, value, 0.1, 0.001))


class Listener(Observer):
    """Keeps what is said, and the processor seconds of this process before the first trial began."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.loaded: float | None = None

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """Stop the clock for what is done once."""
        self.loaded = self.loaded or time.process_time()

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Coordinated:
    """What a run took.

    Attributes:
        seconds: from taking the lease until everything is written.
        processor_seconds: of the coordinator's process, its writer thread included, from the first trial's beginning.
        notes: what the coordinator had to say.
    """

    seconds: float
    processor_seconds: float
    notes: list[str]


def coordinate(storage: BatchStorage, spec: StudySpec, executors: LocalExecutors) -> Coordinated:
    """Run a study as `cifar-tune run` does, lease included, until everything is written."""
    started = time.perf_counter()
    lease = acquire(storage.engine, spec.name)
    open_study(storage, spec, prepare(DataSpec(name="digits")))
    with closing(WriteBehindStorage(storage, spec.name, lease.renew_if_due)) as memory:
        pruner = build_pruner(spec.pruner, spec.largest_epochs)
        study = optuna.load_study(study_name=spec.name, storage=memory, pruner=pruner)
        listener = Listener()
        Coordinator(memory, study, spec, executors, Watch(listener, StopRequests())).run()
        processor_seconds = time.process_time() - (listener.loaded or 0.0)
    lease.release()
    return Coordinated(time.perf_counter() - started, processor_seconds, listener.notes)


def sqlite_url(folder: Path, name: str) -> str:
    """A file in a folder."""
    return f"sqlite:///{folder}/{name}.db"
