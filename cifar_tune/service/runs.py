"""The processes that run submissions: started, found again by a server that was started again, and asked to end.

Each process inherits a file that is locked for as long as it lives, so it is known to live even where the server was
killed while it began it, and a number that the system has given to another process is never taken for it.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from cifar_tune.files import open_regular, replace_file
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE, STORAGE_VARIABLE, artifacts_folder, sqlite_file

_LAST_BYTES = 4_000
_LAST_LINES = 5


def service_folder() -> Path:
    """Where the server keeps its files: beside the artifacts."""
    return artifacts_folder().parent / "service"


def log_file(submission: int) -> Path:
    """Where the runs of the submission with this number write."""
    return service_folder() / "logs" / f"{submission}.log"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a run that a server has begun, for the next server.

    Attributes:
        devices: that it was asked to train on, one for each trial at a time.
        since: when it began, or got its last slot; seconds since the epoch.
        epochs: how many epochs and trials of the study had ended when it began.
        pid: of the process; None where the server was killed just after it had begun it.
        leaving: devices that it was asked to give up, and may still use.
        kept_until: until then it keeps a slot, since a plan has favoured it; seconds since the epoch.
    """

    devices: tuple[str, ...]
    since: float
    epochs: int
    pid: int | None = None
    leaving: tuple[str, ...] = ()
    kept_until: float = 0.0


Command = Callable[[int, Sequence[str]], Sequence[str]]
"""From the number of a submission and the devices to the command that runs it."""


def coordinating(number: int, devices: Sequence[str]) -> Sequence[str]:
    """The command that runs a submission; the storage's URL stands in its environment, where nobody else reads it."""
    # -P: it starts in the folder of whoever has submitted it, and a file there may be called `random.py`
    program = [sys.executable, "-P", "-m", "cifar_tune.service.coordinating"]
    return [*program, str(number), "--devices", ",".join(devices)]


class Processes:
    """The coordinator processes on this machine, by the number of their submission."""

    def __init__(self) -> None:
        self._folder = service_folder() / "runs"
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._make_folders()

    def begin(
        self, number: int, command: Sequence[str], environment: Mapping[str, str], folder: Path | None, record: Record
    ) -> Record:
        """Begin the run of a submission, which does not live.

        Args:
            number: of the submission.
            command: what to start.
            environment: of the process.
            folder: in which it is started; None for the server's.
            record: of the run, without its pid.

        Raises:
            OSError: it cannot be started.
            BlockingIOError: it lives.
        """
        self._make_folders()
        with _locked(self._lock(number)) as descriptor:
            self.write(number, record)
            with log_file(number).open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 (our own program)
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(environment),
                    cwd=folder,
                    start_new_session=True,  # Ctrl-C reaches the server alone
                    pass_fds=[descriptor],
                )
        self._children[number] = process
        record = replace(record, pid=process.pid)
        with contextlib.suppress(OSError):  # it runs, whatever becomes of this file; without a number it hears wishes
            self.write(number, record)
        return record

    def known(self) -> set[int]:
        """The submissions of which there are files, perhaps of runs that have ended while no server was there."""
        return {int(file.stem) for file in self._folder.iterdir() if file.stem.isdecimal()}

    def lives(self, number: int) -> bool:
        """Whether the process that runs a submission lives on this machine."""
        child = self._children.get(number)
        if child is not None and child.poll() is None:
            return True
        try:
            with _locked(self._lock(number), os.O_RDWR):
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def exit_code(self, number: int) -> int | None:
        """Of a process that has ended, below 0 if a signal has killed it; None if this server did not begin it."""
        child = self._children.get(number)
        return None if child is None else child.poll()

    def ask_to_end(self, number: int) -> bool:
        """Ask the process to park its trials and end; returns whether it could be asked."""
        record = self.read(number)
        if record is None or record.pid is None or not self.lives(number):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
        return True

    def read(self, number: int) -> Record | None:
        """What was written of a run; None if nothing can be read."""
        try:
            with open_regular(self._file(number)) as file:
                values = json.loads(file.read())
            known: dict[str, Any] = {each.name: values[each.name] for each in fields(Record) if each.name in values}
            known |= {name: tuple(known[name]) for name in ("devices", "leaving") if name in known}
            return Record(**known)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, number: int, record: Record) -> None:
        """Keep what is known of a run."""
        replace_file(self._file(number), json.dumps(asdict(record)))

    def forget(self, number: int) -> None:
        """Remove what was written of a run that has ended."""
        self._children.pop(number, None)
        for file in (self._file(number), self._lock(number)):
            file.unlink(missing_ok=True)

    def _make_folders(self) -> None:
        for folder in (self._folder, log_file(0).parent):
            folder.mkdir(parents=True, exist_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _lock(self, number: int) -> Path:
        return self._folder / f"{number}.lock"


def last_lines(submission: int) -> str:
    """The end of a submission's log, for a message; empty if there is none."""
    try:
        with open_regular(log_file(submission)) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-_LAST_LINES:])


@contextlib.contextmanager
def _locked(file: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    """Hold the lock of a file; a process that inherits the descriptor goes on holding it.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: it is not there, and is not to be made.
    """
    descriptor = os.open(file, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def environment_of_runs(url: URL) -> Mapping[str, str]:
    """The environment of a run, which is started in the folder of whoever has submitted it."""
    file = sqlite_file(url)
    whole = url if file is None else url.set(database=str(file.absolute()))
    return {
        **os.environ,
        STORAGE_VARIABLE: whole.render_as_string(hide_password=False),
        ARTIFACTS_VARIABLE: str(artifacts_folder().absolute()),
    }
