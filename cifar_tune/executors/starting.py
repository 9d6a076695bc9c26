"""Starting executor processes, without importing torch for each of them."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path

from cifar_tune.errors import CheckError
from cifar_tune.executors.entry import HELD_BACK, enter
from cifar_tune.executors.process import ExecutorProcess

Work = Callable[[Connection, str, int], None]
"""What an executor process does with its connection, its device and the index of its slot."""


class Starter:
    """Starts processes from a fork server that imports torch once and never touches a device.

    Executors share the pages of what it has imported, about 300 MB each, and start within milliseconds. Forking is
    safe there: the server has no CUDA context and runs no thread of its own, unlike the coordinator. Where there can be
    no such server they are spawned: elsewhere than on Linux, since libraries of other systems do not survive a fork,
    and where its socket cannot be made or is lost.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._forks = sys.platform == "linux"
        self._has_started = False
        if self._forks:
            multiprocessing.get_context("forkserver").set_forkserver_preload(["cifar_tune.executors.preloaded"])
            try:
                with _prepared():
                    forkserver.ensure_running()  # returns at once; the server goes on importing
            except OSError:  # such as a temporary folder whose name is too long for a socket
                self._forks = False

    def start(self, device: str, index: int) -> tuple[ExecutorProcess, Connection]:
        """Start a process, and return it with our end of the connection to it.

        The first call waits for the server's imports, which take seconds.

        Raises:
            CheckError: if there can be no further process.
        """
        if self._forks:
            try:
                started = self._start(device, index, forks=True)
            except (OSError, EOFError):  # the server has died, or nobody can reach it any more
                self._forks = False
                end_server()
            else:
                self._has_started = True
                return started
        try:
            return self._start(device, index, forks=False)
        except OSError as error:
            raise CheckError(f"executors cannot be started: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing more is started: a server that still imports, and that nobody waits for, ends now."""
        if self._forks and not self._has_started:
            end_server()

    def _start(self, device: str, index: int, forks: bool) -> tuple[ExecutorProcess, Connection]:
        context = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        try:
            process = context.Process(
                target=enter,
                args=(self._work, dict(os.environ), theirs, device, index),
                name=f"cifar-tune executor {index}",
                daemon=True,
            )
            with _prepared():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ExecutorProcess(process), ours


def server_pid() -> int | None:
    """The process number of this process's fork server; None where none was started.

    The only thing here that Python does not promise to keep: relies on the one `ForkServer` of its module, and on the
    attribute `_forkserver_pid` of that.
    """
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def end_server() -> None:
    """End the fork server; the next start begins another one. What it has forked lives on."""
    pid = server_pid()
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def _prepared() -> Iterator[None]:
    """What the server, which a start may begin anew, has to inherit.

    Signals are held back. It would look for modules in the working folder first, whatever lies there; it has to find
    those that the coordinator finds. An executor gets the coordinator's own environment afterwards.
    """
    resource_tracker.ensure_running()  # else the first start begins it, and it unblocks signals
    kept = {name: os.environ.get(name) for name in ("PYTHONSAFEPATH", "PYTHONPATH")}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
