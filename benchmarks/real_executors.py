"""Configurations trained by executor processes as in a study, without a study around them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.pools import started_pool
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Began, Died, Ended, EpochDone, Job, Refused, Verdict
from cifar_tune.knobs.configuration import Configuration


@dataclass(slots=True)
class Trained:
    """What a job gave: when its epochs ended (`time.perf_counter`), and its last validation accuracy."""

    epochs: list[float] = field(default_factory=list)
    val_accuracy: float = 0.0


def _nothing() -> None:
    return


@contextmanager
def started_executors(count: int) -> Iterator[LocalExecutors]:
    """Executors on the CPU that have imported torch, and said so."""
    with started_pool(count) as executors:
        executors.reports(0)
        yield executors


def train_together(
    executors: LocalExecutors,
    configs: Sequence[Configuration],
    data: DataSpec,
    folder: Path,
    meanwhile: Callable[[], None] = _nothing,
) -> tuple[float, list[Trained]]:
    """Train as many configurations as there are executors at once, checkpoints included.

    Args:
        executors: idle ones.
        configs: one for each.
        data: what they train on.
        folder: for checkpoints, which are deleted.
        meanwhile: called again and again.

    Returns:
        Seconds from handing out the first to the end of the last, and what each gave.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    found = [Trained() for _ in configs]
    for number, config in enumerate(configs):
        executors.submit(Job(number, dict(config), data, folder / f"{number}.pt"))
    left = len(configs)
    while left:
        for report in executors.reports(0.02):
            match report:
                case Began():
                    executors.answer(report.number, Verdict(go_on=True))
                case EpochDone():
                    found[report.number].epochs.append(time.perf_counter())
                    found[report.number].val_accuracy = report.result.val_accuracy
                    executors.answer(report.number, Verdict(go_on=True))
                case Ended():
                    if report.outcome != "completed":
                        raise RuntimeError(report.detail)
                    executors.finished(report.number)
                    left -= 1
                case Died() | Refused():
                    raise RuntimeError(f"an executor ended: {report}")
        meanwhile()
    seconds = time.perf_counter() - started
    for file in folder.glob("*.pt"):
        file.unlink()
    return seconds, found
