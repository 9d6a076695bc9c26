"""Studies whose trials only sleep: they take time and no processor, so that many of them fit on few cores."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.pools import play
from cifar_tune.executors.messages import Began, EpochDone, Job
from cifar_tune.executors.starting import Work
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from cifar_tune.training.results import EpochResult

EpochSeconds = Mapping[int, float]
"""Of a net of each width."""


def sleeping_spec(trials: int, pruner: str, epochs: int, seconds: EpochSeconds, **sections: Any) -> StudySpec:
    """A study of `lr`, which decides on the accuracy, and `width`, which decides on the time; sampler random.

    `sections` are further ones, its `name` among them.
    """
    plain: dict[str, Any] = {
        "budget": {"trials": trials},
        "sampler": {"name": "random"},
        "pruner": {"name": pruner},
        "data": {"name": "digits"},
        "train": {"epochs": epochs},
        "search_space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "width": {"choices": list(seconds)}},
    }
    return read_study(Document(plain | sections), None).spec


def sleeper(epochs: int, seconds: EpochSeconds) -> Work:
    """The target of an executor's process."""
    return partial(_sleep, epochs=epochs, seconds=seconds)


def _sleep(connection: Connection, device: str, _slot: int, *, epochs: int, seconds: EpochSeconds) -> None:
    play(connection, device, lambda job: _epochs(job, epochs, seconds[int(str(job.config["width"]))]))


def _epochs(job: Job, epochs: int, seconds: float) -> Iterator[Began | EpochDone]:
    """An accuracy that grows evenly to a value drawn by the learning rate."""
    quality = hashlib.sha256(repr(job.config["lr"]).encode()).digest()[0] / 255
    yield Began(job.number, "cpu", 1000, 1000, "fp32", ())
    for epoch in range(1, epochs + 1):
        time.sleep(seconds)
        value = quality * epoch / epochs
        yield EpochDone(job.number, EpochResult(epoch, 1 - value, value, 1 - value, value, 0.1, seconds))
