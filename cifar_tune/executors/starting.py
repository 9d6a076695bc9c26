"""Starting executor processes, without importing torch for each of them."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from cifar_tune.executors.entry import HELD_BACK, enter

Work = Callable[[Connection, str, int], None]
"""What an executor process does with its connection, its device and the index of its slot."""


class Starter:
    """Starts processes from a fork server that imports torch once and never touches a device.

    Executors share the pages of what it has imported, about 300 MB each, and start within milliseconds. Forking is
    safe there: the server has no CUDA context and runs no thread of its own, unlike the coordinator. Elsewhere than on
    Linux processes are spawned, since libraries of other systems do not survive a fork.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        if sys.platform == "linux":
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(["cifar_tune.executors.preloaded"])
            with _held_back():
                forkserver.ensure_running()  # returns at once; the server goes on importing
        else:
            self._context = multiprocessing.get_context("spawn")

    def start(self, device: str, index: int) -> tuple[BaseProcess, Connection]:
        """Start a process, and return it with our end of the connection to it.

        The first call waits for the server's imports, which take seconds.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=enter,
            args=(self._work, dict(os.environ), theirs, device, index),
            name=f"cifar-tune executor {index}",
            daemon=True,
        )
        with _held_back():
            process.start()
        theirs.close()
        return process, ours


@contextmanager
def _held_back() -> Iterator[None]:
    resource_tracker.ensure_running()  # else the first start begins it, and it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
