"""stdout and stderr that cannot be written: every command, every kind of broken stream, real processes.

What is done is done all the same, nothing ends in a traceback, and the exit code says whether results were lost.
"""

import fcntl
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.streams import READER_GONE
from tests.processes import call_cifar_tune

STUDY = """name: made
data: {name: digits, val_size: 300, train_size: 200}
sampler: {name: random}
budget: {trials: 2}
plugins: [chatter.py]
train: {model: cnn2, width: 4, epochs: 1, loss: talking}
search_space: {lr: {low: 1e-3, high: 0.1, log: true}}
"""
CHATTER = """import sys
from torch.nn.functional import cross_entropy
from cifar_tune.plugins import LossPart

def talk(logits, targets):
    print("so many logits: " + "x" * 10_000, flush=True)
    print("and on stderr", file=sys.stderr)
    return cross_entropy(logits, targets)

LOSSES = {"talking": LossPart(talk, "prints in every step")}
"""

OK, FULL, CLOSED, GONE, HUNG_UP = "captured", "full disk", "closed", "reader gone", "closed terminal"
KINDS = (
    (OK, FULL), (OK, CLOSED), (OK, GONE), (FULL, OK), (CLOSED, OK), (GONE, OK), (FULL, CLOSED), (GONE, GONE),
    (CLOSED, FULL), (GONE, CLOSED), (HUNG_UP, HUNG_UP),
)  # fmt: skip
"""stdout and stderr."""

QUICK = ((GONE, CLOSED), (OK, FULL), (FULL, OK))
"""The kinds that each command is tried on in the quick tests, one that takes seconds on the first alone.

All commands on all other kinds are among the slow tests.
"""

LIGHT: dict[str, tuple[int, str]] = {
    "knobs": (0, "knobs"),
    "knobs as JSON": (0, "knobs --json"),
    "status": (0, "status"),
    "status of one": (0, "status made --json"),
    "watch": (0, "watch made"),
    "one frame of watch": (0, "watch made --once"),
    "export": (0, "export made --output exported"),
    "compare": (0, "compare made --by lr --output compared"),
    "finalize": (0, "finalize made"),
    "delete": (0, "delete made --yes --storage sqlite:///copy.db"),
    "help": (0, "--help"),
    "version": (0, "--version"),
    "usage": (2, "run --bogus"),
    "wrong input": (2, "run wrong.yaml"),
}
HEAVY: dict[str, tuple[int, str]] = {
    "run": (0, "run study.yaml --set name=another"),
    "check": (0, "check study.yaml"),
    "train": (0, "train best.yaml"),
    "filters": (0, "filters best.yaml --output insight"),
    "lr-range": (0, "lr-range best.yaml --steps 30 --output insight"),
    "landscape": (0, "landscape best.yaml --lrs 1e-3,2e-3 --epochs 1 --output insight"),
    "layers": (0, "layers best.yaml"),
}
CASES = [
    pytest.param(*command, *kind, id=f"{name}, {kind}", marks=() if kind in quick else pytest.mark.slow)
    for commands, quick in ((LIGHT, QUICK), (HEAVY, QUICK[:1]))
    for name, command in commands.items()
    for kind in KINDS
]


@dataclass(frozen=True)
class Place:
    """A folder with a finished study, its storage, and all that commands need."""

    path: Path
    environment: dict[str, str]

    def start(self, arguments: str, out: str, err: str) -> "subprocess.Popen[bytes]":
        """Start the program on such streams."""
        with ExitStack() as cleanup:
            if out == HUNG_UP:
                master, slave = pty.openpty()
                cleanup.callback(os.close, master)
                return self.popen(arguments, slave, slave, slave, _hung_up, cleanup)
            closed = [number for number, kind in ((1, out), (2, err)) if kind == CLOSED]

            def prepare() -> None:
                for number in closed:
                    os.close(number)

            return self.popen(arguments, subprocess.DEVNULL, _stream(out), _stream(err), prepare, cleanup)

    def popen(
        self, arguments: str, stdin: int, out: int, err: int, prepare: Callable[[], object], cleanup: ExitStack
    ) -> "subprocess.Popen[bytes]":
        for descriptor in {out, err}:
            if descriptor > 2:
                cleanup.callback(os.close, descriptor)
        return subprocess.Popen(
            [sys.executable, "-m", "cifar_tune", *arguments.split()],
            cwd=self.path,
            env=self.environment,
            stdin=stdin,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 (tests start no threads)
        )

    def call(self, *arguments: str) -> None:
        """Let this process run the program; it must succeed."""
        code, _, err = call_cifar_tune(arguments, self.path, self.environment)
        assert code == 0, err

    def finished(self, name: str) -> int:
        """How many trials of a study have ended."""
        storage = open_storage(storage_url(f"sqlite:///{self.path}/storage/cifar_tune.db"))
        try:
            return load_record(storage, name).finished
        finally:
            close(storage)


def _stream(kind: str) -> int:
    if kind == OK:
        return subprocess.PIPE
    if kind == FULL:
        return os.open("/dev/full", os.O_WRONLY)
    if kind == CLOSED:
        return subprocess.DEVNULL
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _hung_up() -> None:
    """Like a program that was started with nohup in a terminal that is closed meanwhile."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    path = tmp_path_factory.mktemp("streams")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("CIFAR_TUNE_")}
    place = Place(
        path, {**variables, "PYTHONPATH": str(Path(__file__).parents[2]), "CIFAR_TUNE_CACHE": str(path / "cache")}
    )
    (path / "study.yaml").write_text(STUDY)
    (path / "chatter.py").write_text(CHATTER)
    (path / "wrong.yaml").write_text("name: made\ntrain: {epochs: 0}\n")
    place.call("run", "study.yaml", "--quiet")
    place.call("export", "made", "--output", "exported")
    place.call("finalize", "made")
    shutil.copy(path / "exported" / "best.yaml", path / "best.yaml")
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    """A copy that a command may change."""
    shutil.copytree(finished.path, tmp_path / "place")
    shutil.copy(finished.path / "storage" / "cifar_tune.db", tmp_path / "place" / "copy.db")
    return Place(tmp_path / "place", finished.environment)


@pytest.mark.parametrize(("code", "arguments", "out", "err"), CASES)
def test_every_command_on_every_kind_of_broken_stream(
    place: Place, code: int, arguments: str, out: str, err: str
) -> None:
    process = place.start(arguments, out, err)
    results, messages = (part or b"" for part in process.communicate())
    lost = READER_GONE if out == GONE else 1
    has_results = code == 0  # else there are messages on stderr alone
    assert process.returncode == (code or (lost if out != OK and has_results else 0))
    assert b"Traceback" not in messages + results
    if out == OK:
        assert bool(results.strip()) == has_results
    if err == OK:
        reason = {FULL: b"No space left on device", CLOSED: b"it is closed"}.get(out)
        sentence = b"cifar-tune: the results could not be written to stdout: "
        assert (sentence in messages) == (has_results and reason is not None)
        assert reason is None or not has_results or sentence + reason in messages
    if arguments.startswith("run study.yaml"):
        assert place.finished("another") == 2


WAITING = CHATTER.replace("import sys", "import pathlib, sys, time").replace(
    "    return", "    while not pathlib.Path('go').exists():\n        time.sleep(0.02)\n    return"
)
"""Training goes on when there is a file `go`, so that nothing has ended before a test has done its part."""


@pytest.fixture
def training(place: Place) -> Place:
    (place.path / "chatter.py").write_text(WAITING)
    return place


def read_until(descriptor: int, words: bytes) -> None:
    seen = b""
    while words not in seen:
        piece = os.read(descriptor, 4096)
        assert piece, seen
        seen += piece


RUN = "run study.yaml --set name=another"


def test_a_run_goes_on_when_the_reader_of_its_progress_is_killed(training: Place) -> None:
    reading, writing = os.pipe()
    process = training.popen(RUN, subprocess.DEVNULL, writing, writing, lambda: None, ExitStack())
    os.close(writing)
    read_until(reading, b"trial 0: lr")
    os.close(reading)
    (training.path / "go").touch()
    assert process.wait() == READER_GONE  # its results had no reader either
    assert training.finished("another") == 2


def test_a_run_goes_on_when_its_terminal_is_closed(training: Place) -> None:
    master, slave = pty.openpty()
    process = training.popen(RUN, slave, slave, slave, _hung_up, ExitStack())
    os.close(slave)
    read_until(master, b"trial 0")
    os.close(master)
    (training.path / "go").touch()
    assert process.wait() == 1
    assert training.finished("another") == 2


def test_watch_ends_when_nobody_reads_it(training: Place) -> None:
    """Though the study goes on, and there is nothing new to print."""
    run = training.start(RUN, OK, OK)
    assert run.stderr is not None
    read_until(run.stderr.fileno(), b"trial 0: lr")
    watch = training.start("watch another", OK, OK)
    assert watch.stdout is not None
    read_until(watch.stdout.fileno(), b"another: 0 of 2 trials")
    watch.stdout.close()
    assert watch.wait() == READER_GONE
    assert watch.stderr is not None
    assert watch.stderr.read() == b""
    (training.path / "go").touch()
    run.communicate()
    assert run.returncode == 0


@pytest.mark.parametrize(("out", "err"), [QUICK[0], (HUNG_UP, HUNG_UP)])
def test_the_dashboard_serves_on(place: Place, out: str, err: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = place.start(f"dashboard --port {port}", out, err)
    while True:
        assert process.poll() is None
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/dashboard") as answer:
            assert answer.status == 200
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in (messages or b"")


def test_results_that_the_encoding_does_not_know_are_escaped(place: Place) -> None:
    named = Place(place.path, {**place.environment, "PYTHONIOENCODING": "iso8859-1"})
    process = named.start("export made --output 日本", OK, OK)
    results, messages = process.communicate()
    assert (process.returncode, messages) == (0, b"")
    assert rb"\u65e5\u672c/report.html" in results.splitlines()
