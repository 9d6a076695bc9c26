"""Trials that only sleep: they take time and no processor, so that many of them fit on few cores."""

import hashlib
import time
from collections.abc import Iterator

from cifar_tune.executors.messages import Began, EpochDone, Job
from cifar_tune.training.results import EpochResult


def sleeping_epochs(job: Job, epochs: int, seconds: float) -> Iterator[Began | EpochDone]:
    """What an executor says of a trial whose accuracy grows evenly to a value drawn by its learning rate.

    Args:
        job: the trial.
        epochs: how many it has.
        seconds: each of them.
    """
    quality = hashlib.sha256(repr(job.config["lr"]).encode()).digest()[0] / 255
    yield Began(job.number, "cpu", 1000, 1000, "fp32", ())
    for epoch in range(1, epochs + 1):
        time.sleep(seconds)
        value = quality * epoch / epochs
        yield EpochDone(job.number, EpochResult(epoch, 1 - value, value, 1 - value, value, 0.1, seconds))
