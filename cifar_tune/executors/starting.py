"""Starts executor processes without importing torch in the coordinator, or again in each of them."""

import multiprocessing
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

from cifar_tune.errors import CheckError
from cifar_tune.streams import guard_streams

PRELOADED = ["cifar_tune.executors.preloaded"]
"""What a fork server imports before it forks."""

_CLOSED = "no executor is started any more"

_REPORT_SECONDS = 5.0
"""How long the fork server may take to tell the exit code of a process that has ended."""


class ExecutorProcess:
    """A process that a fork server has forked, or that was spawned.

    multiprocessing knows of a forked process what its server tells. Once that is gone it takes all of its processes for
    dead, and does not kill them any more; so Linux is asked instead, by a file descriptor that stands for the process.
    """

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self._descriptor: int | None = None
        if hasattr(os, "pidfd_open") and process.pid is not None:
            with suppress(OSError):  # a kernel before 5.3, or it has ended already
                self._descriptor = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """Of one that has ended; a negative number is the signal that killed it. 255 if nobody can tell."""
        self._process.join(_REPORT_SECONDS)
        return self._process.exitcode

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive() if self._descriptor is None else not self._wait(0.0)

    def join(self, timeout: float) -> None:
        """Wait for its end, this many seconds at most."""
        if self._descriptor is None:
            self._process.join(timeout)
        else:
            self._wait(timeout)

    def kill(self) -> None:
        """End it at once."""
        if self._descriptor is None:
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def forget(self) -> None:
        """Give back what is needed to watch it; it is not asked for any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor or -1, select.POLLIN)
        return bool(poll.poll(1000 * seconds))


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
    guard_streams()  # what the code of a plugin prints must not end its trial
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


Work = Callable[[Connection, str, int], None]
"""What an executor process does with its connection, its device and the index of its slot."""


class Starter:
    """Starts processes from a fork server that imports torch once and never touches a device.

    Executors share the pages of what it has imported, about 300 MB each, and start within milliseconds. Forking is
    safe there: the server has no CUDA context and runs no thread of its own, unlike the coordinator. Where there can be
    no such server they are spawned: elsewhere than on Linux, since libraries of other systems do not survive a fork,
    and where its socket cannot be made or is lost.
    """

    _warm: ClassVar[int | None] = None
    """The process number of a server that has imported everything: studies that run in this process later need it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._is_closed = False
        self._forks = sys.platform == "linux"
        if self._forks:
            multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
            try:
                with _prepared():
                    forkserver.ensure_running()  # returns at once; the server goes on importing
            except OSError:  # such as a temporary folder whose name is too long for a socket
                self._forks = False

    def start(self, device: str, index: int) -> tuple[ExecutorProcess, Connection]:
        """Start a process, and return it with our end of the connection to it.

        The first call waits for the server's imports, which take seconds.

        Raises:
            CheckError: if there can be no further process, or `close` was called, perhaps meanwhile.
        """
        if self._is_closed:
            raise CheckError(_CLOSED)
        if self._forks:
            try:
                started = self._start(device, index, forks=True)
            except (OSError, EOFError) as error:  # the server has died, or nobody can reach it any more
                if self._is_closed:  # a process that is spawned now would be waited for
                    raise CheckError(_CLOSED) from error
                self._forks = False
                end_server()
            else:
                Starter._warm = server_pid()
                return started
        try:
            return self._start(device, index, forks=False)
        except OSError as error:
            raise CheckError(f"executors cannot be started: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing more is started: a server that still imports, and that nobody waits for, ends now."""
        self._is_closed = True
        if self._forks and server_pid() != Starter._warm:
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
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            # else the next start may take it for a living one, and spawn its executors; multiprocessing reaps it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


_starting = threading.Lock()
"""Held while an executor is started: a process has one environment for all of its threads."""


@contextmanager
def _prepared() -> Iterator[None]:
    """What the server, which may be started again, has to inherit.

    Signals are held back. It would look for modules in the working folder first, whatever lies there; it has to find
    those that the coordinator finds. An executor gets the coordinator's own environment afterwards.
    """
    with _starting:
        resource_tracker.ensure_running()  # else the first start begins it, and it unblocks signals
        with _changed_environment():
            yield


@contextmanager
def _changed_environment() -> Iterator[None]:
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
