"""Tests that wait for a program, and trainings that wait for a test: nothing here hopes that something is fast enough.

What must happen in mid-training needs a training that waits. A study that names PLUGIN and AUGMENTATION begins an epoch
only when the test lets it. Images stay as they are, so results are those of a study that never waited.

Executors import this module with what a test lets them do, so it imports nothing that takes time.
"""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

PATIENCE = 600.0
"""Seconds after which a test gives up. Nothing takes nearly so long, however busy the machine is."""

AUGMENTATION = "wait_for_test"
PLUGIN = "wait_for_test.py"

_SOURCE = """
import fcntl
import time

from cifar_tune.plugins import AugmentationPart


def wait_for_test(draw):
    while not may_begin():
        time.sleep(0.02)
    return lambda images, batch: images


def may_begin():
    with open({file!r}, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left = file.read()
        if left == "all":
            return True
        if left == "0":
            return False
        file.seek(0)
        file.truncate()
        file.write(str(int(left) - 1))
        return True


AUGMENTATIONS = {{"wait_for_test": AugmentationPart(wait_for_test, "begins when the test says so", stage="inputs")}}
"""


class Program(Protocol):
    """A process that a test has started: what it needs of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    @property
    def stdout(self) -> IO[str] | None: ...
    @property
    def stderr(self) -> IO[str] | None: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]: ...
    def send_signal(self, sig: int, /) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Gate:
    """Decides how many more epochs may begin, over all trainings of a folder. It is open at first.

    Args:
        folder: where commands are started; the plugin is written there, as PLUGIN.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "epochs_that_may_begin"
        self._file.write_text("all")
        (folder / PLUGIN).write_text(_SOURCE.format(file=str(self._file.absolute())))

    def let(self, epochs: int) -> None:
        """Let so many epochs begin from now on; further ones wait."""
        self._write(str(epochs))

    def let_next(self) -> None:
        """Let one more begin if all that may begin have begun.

        For a test that has killed something: nobody knows how many epochs are trained again, or how many the orphans of
        a killed process begin before they end too.
        """
        with self._file.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.read() == "0":
                file.seek(0)
                file.write("1")

    def open(self) -> None:
        """Let all begin."""
        self._write("all")

    def _write(self, content: str) -> None:
        with self._file.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate()
            file.write(content)


def wait_until(condition: Callable[[], bool]) -> None:
    """Look now and then until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def read_until(process: Program, words: str) -> str:
    """Wait for these words on stderr; returns their line.

    Raises:
        AssertionError: the process ended without having said them, or took too long and was killed with all its group.
    """
    assert process.stderr is not None
    timer = threading.Timer(PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    said, line = "", b""
    try:
        # byte by byte, so that what comes later is left to `communicate`
        while byte := os.read(process.stderr.fileno(), 1):
            line += byte
            if byte == b"\n":
                if words in line.decode():
                    return line.decode()
                said, line = said + line.decode(), b""
    finally:
        timer.cancel()
    raise AssertionError(f"never said {words!r}, but:\n{said}")


def is_alive(pid: int) -> bool:
    """Whether the process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
