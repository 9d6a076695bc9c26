"""Pools of executor processes on the CPU, for what is measured on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job, Quit, Ready, Verdict
from cifar_tune.executors.starting import Work, work_in_process


def _nothing() -> None:
    return


def _say_nothing(_text: str) -> None:
    return


@contextmanager
def started_pool(workers: int, work: Work = work_in_process) -> Iterator[LocalExecutors]:
    """Executors that have started."""
    executors = LocalExecutors(workers, ["cpu"], 1, _say_nothing, work)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", _nothing)
        yield executors
    finally:
        executors.close(lambda: True)


def play(connection: Connection, device: str, epochs: Callable[[Job], Iterator[Began | EpochDone]]) -> None:
    """Answer a coordinator as an executor does, without torch and without training: for the target of a process.

    Args:
        connection: to the coordinator.
        device: the name of it.
        epochs: what is to be said of a job, one message after the other.
    """
    connection.send(Ready(device, {"python": "3", "torch": "none", "device": device}))
    while True:
        match connection.recv():
            case Job() as job:
                for message in epochs(job):
                    connection.send(message)
                    verdict: Verdict | Quit = connection.recv()
                    if isinstance(verdict, Quit):
                        return
                    if not verdict.go_on:
                        connection.send(Ended(job.number, "stopped"))
                        break
                else:
                    connection.send(Ended(job.number, "completed"))
            case Quit():
                return
