"""The entry of an executor process, kept apart so that the coordinator does not import torch."""

import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

HELD_BACK = (signal.SIGINT, signal.SIGTERM)
"""Signals that the coordinator blocks while it starts an executor, so that none strikes a half-started Python."""


def enter(
    work: Callable[[Connection, str, int], None],
    environment: Mapping[str, str],
    connection: Connection,
    device: str,
    slot: int,
) -> None:
    """Do the work with the coordinator's environment, not that of the process which this one was forked from."""
    os.environ.clear()
    os.environ.update(environment)
    work(connection, device, slot)


def work_in_process(connection: Connection, device_name: str, slot: int) -> None:
    """Serve jobs in this process; see `cifar_tune.executors.worker`."""
    # Ctrl-C, and a job scheduler's SIGTERM, reach the whole group; the coordinator decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    from cifar_tune.executors.worker import work  # noqa: PLC0415 (torch belongs to the executor alone)

    work(connection, device_name, slot)
