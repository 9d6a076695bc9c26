"""An executor process, seen from the coordinator."""

import os
import select
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess

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
        """Wait for its end, so many seconds at most."""
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
