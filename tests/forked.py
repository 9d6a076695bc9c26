"""The program in processes of its own that need not import anything: forks of one that has imported all of it.

Importing takes several seconds, so all workers of a run of pytest share that process. For each of them it forks a
server, and the server forks the programs.

A program gets its own descriptors, environment, folder and session, and runs `python -m cifar_tune` from its first line
to its exit handlers, or a text of the test in its place. What it does not show is how an interpreter starts, and how it
takes itself apart. The fork server that it starts for its executors is a fork of it as well, so PyTorch need not be
imported once more.
"""

import atexit
import fcntl
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import util
from pathlib import Path
from typing import IO, Any

from tests.opened_once import once_per_process

_IMPORTED = """
import importlib
import pkgutil

import cifar_tune
from cifar_tune.memory import uncollected

with uncollected():
    for module in pkgutil.walk_packages(cifar_tune.__path__, "cifar_tune."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

from tests.forked import fork_servers, play, warm_up  # a forkserver among its forks has this command line too

warm_up()
code = fork_servers({descriptor})
if code is not None:
    play(code)
"""

_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
"""The same in all workers of a run."""
_LOCK = "lock"
"""The file that is locked by whoever connects, or ends the process that has imported everything."""
_LOOK_SECONDS = 1.0
"""How often that process looks whether anybody needs it."""


PROGRAM = "import runpy; runpy.run_module('cifar_tune', run_name='__main__', alter_sys=True)"


class Forked:
    """A program that was started by `Forks`."""

    def __init__(self, forks: "Forks", pid: int) -> None:
        self._forks = forks
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs; a negative number is the signal that ended it."""
        if self.returncode is None:
            self.returncode = self._forks.ask({"pid": self.pid, "options": os.WNOHANG})
        return self.returncode

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            self.returncode = self._forks.ask({"pid": self.pid, "options": 0})
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """To this process alone."""
        if self.returncode is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """As a job scheduler does it."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)


class Piped(Forked):
    """One whose stdout and stderr the test reads. It can be used like the `Popen` of such a process."""

    def __init__(self, forked: Forked, stdout: int, stderr: int) -> None:
        super().__init__(forked._forks, forked.pid)
        self.stdout: IO[str] | None = open(stdout)  # noqa: SIM115 (closed with the object, as that of `Popen` is)
        self.stderr: IO[str] | None = open(stderr)  # noqa: SIM115

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """The rest of stdout and of stderr, to where nobody can write any more, and its end.

        Raises:
            TimeoutError: that took longer than so many seconds.
        """
        read: dict[IO[str], str] = {}
        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
        threads = [threading.Thread(target=lambda pipe=pipe: read.update({pipe: pipe.read()})) for pipe in pipes]
        for thread in threads:
            thread.daemon = True
            thread.start()
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError(f"process {self.pid} goes on")
        self.wait()
        out, err = (read[pipe] for pipe in pipes)
        return out, err


class Forks:
    """A server of this process, which starts the program by forking. Ends with `close`."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir()) / f"cifar-tune-forks-{_RUN}"
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder.mkdir(mode=0o700, exist_ok=True)  # who had the lock may have removed it
            connection = _connected(folder / "socket")
            if connection is None:
                self._everything = _import_everything(folder / "socket")
                connection = _connected(folder / "socket")
        assert connection is not None, "the process that imports everything has ended"
        self._ours = connection

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: Sequence[int | None],
        terminal: bool = False,
        code: str = PROGRAM,
    ) -> Forked:
        """Start the program at the head of a session.

        Args:
            arguments: what follows its name.
            folder: where it is started.
            environment: all of its variables.
            streams: descriptors of this process that it gets as stdin, stdout and stderr; None is a closed one.
            terminal: its stdin is the terminal of its session, and it ignores the signal of a terminal that is closed.
            code: what is run in it.
        """
        given = [stream for stream in streams if stream is not None]
        order = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "open": [stream is not None for stream in streams],
            "terminal": terminal,
            "code": code,
        }
        pid = self.ask(order, given)
        assert pid is not None
        return Forked(self, pid)

    def ask(self, order: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int | None:
        """Let the server do something; returns the number that it answers."""
        socket.send_fds(self._ours, [json.dumps(order).encode()], descriptors)
        answer = self._ours.recv(100)
        assert answer, "the server of forks has ended"
        number: int | None = json.loads(answer)
        return number

    def close(self) -> None:
        """End the server."""
        self._ours.close()


def _connected(address: Path) -> socket.socket | None:
    """A connection to a new server, or None where nobody would fork one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with suppress(OSError):
        connection.connect(str(address))
        if connection.recv(100):
            return connection
    connection.close()
    return None


def _import_everything(address: Path) -> "subprocess.Popen[bytes]":
    """Start the process that forks servers for those who connect to that address."""
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(address))
        listening.listen()
        return subprocess.Popen(
            [sys.executable, "-c", _IMPORTED.format(descriptor=listening.fileno())], pass_fds=[listening.fileno()]
        )


@cache
def forks() -> Forks:
    """Those of this process, begun with the first program that it starts; they end when this process does."""
    begun = Forks()
    atexit.register(begun.close)
    return begun


def warm_up() -> None:
    """Do once what every program would do: what it prepares to read its command line, and to open a database."""
    from cifar_tune.cli.main import all_commands
    from cifar_tune.storage.rdb import close, open_storage
    from cifar_tune.storage.urls import storage_url

    all_commands()
    once_per_process()
    with tempfile.TemporaryDirectory() as folder:
        close(open_storage(storage_url(f"sqlite:///{folder}/warm.db")))


def fork_servers(descriptor: int) -> str | None:
    """Fork a server for everybody who connects; returns what is to be run now in a program, None if all is over.

    All is over when the worker that began this has ended, and no other one has a server.
    """
    gc.collect()
    gc.freeze()  # a collection in a fork need not look through, and so copy, what has been imported
    began_it = os.getppid()
    servers: set[int] = set()
    with socket.socket(fileno=descriptor) as listening:
        folder = Path(listening.getsockname()).parent
        while servers or os.getppid() == began_it or not _can_end(folder):
            servers -= {pid for pid in servers if os.waitpid(pid, os.WNOHANG)[0]}
            if not select.select([listening], [], [], _LOOK_SECONDS)[0]:
                continue
            connection, _ = listening.accept()
            pid = os.fork()
            if pid == 0:
                listening.close()
                program = serve(connection)
                if program is None:
                    os._exit(0)
                return program
            connection.close()
            servers.add(pid)
    return None


def _can_end(folder: Path) -> bool:
    """Remove what tells where to connect, unless somebody is about to do so."""
    with suppress(OSError), (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
        return True
    return not folder.exists()


def serve(ours: socket.socket) -> str | None:
    """Obey until the test closes its end; returns what is to be run now if this is a fork, None if all is over."""
    with ours as connection:
        connection.send(b"ready")
        while True:
            message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            if not message:
                return None
            order = json.loads(message)
            if "pid" in order:
                pid, status = os.waitpid(order["pid"], order["options"])
                answer = os.waitstatus_to_exitcode(status) if pid else None
                connection.send(json.dumps(answer).encode())
            elif os.fork() == 0:
                try:
                    _become(order, descriptors)
                finally:
                    connection.send(json.dumps(os.getpid()).encode())
                return str(order["code"])
            for each in descriptors:
                os.close(each)


def play(program: str) -> None:
    """Run it; never returns. An interpreter that takes itself apart would take half a second for that."""
    code: object = 0
    try:
        exec(program, {"__name__": "__main__"})  # noqa: S102 (a test has written it)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 (the interpreter would print it too)
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _become(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Be what a shell would have started."""
    os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    given = iter(descriptors)
    for number, is_open in enumerate(order["open"]):
        if is_open:
            os.dup2(next(given), number)
        else:
            os.close(number)
    for descriptor in descriptors:
        os.close(descriptor)
    if order["terminal"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.argv = ["cifar-tune", *order["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = _opened(0), _opened(1), _opened(2)
    util.spawnv_passfds = _started


_started_afresh = util.spawnv_passfds


def _started(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """Stands in for the function by which multiprocessing starts its helpers: a fork server is forked from here.

    A process with several threads is none to fork from. That is where an earlier server has died.
    """
    program = args[-1]
    if not program.startswith("from multiprocessing.forkserver") or threading.active_count() > 1:
        return _started_afresh(path, args, passfds)
    pid = os.fork()
    if pid == 0:
        try:
            _be_like_new(passfds)
            exec(program, {})  # noqa: S102 (what the interpreter would do with it)
        except SystemExit:
            os._exit(0)
        except BaseException:  # noqa: BLE001 (the interpreter would print it too)
            traceback.print_exc()
        os._exit(1)
    return pid


def _be_like_new(descriptors: Sequence[int]) -> None:
    """Have no more of the process that this one was forked from than a program that it has executed."""
    before = 3
    for kept in (*sorted(descriptors), os.sysconf("SC_OPEN_MAX")):
        os.closerange(before, kept)
        before = kept + 1
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    sys.stdin, sys.stdout, sys.stderr = _opened(0), _opened(1), _opened(2)


def _opened(descriptor: int) -> IO[str] | None:
    """As the interpreter opens it when it starts: None for one that is closed."""
    with suppress(OSError):
        is_stderr = descriptor == 2
        return open(
            descriptor,
            "w" if descriptor else "r",
            encoding=os.environ.get("PYTHONIOENCODING"),
            buffering=1 if is_stderr or os.isatty(descriptor) else -1,
            errors="backslashreplace" if is_stderr else "strict",
            closefd=False,
        )
    return None
