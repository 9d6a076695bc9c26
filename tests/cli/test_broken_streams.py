"""stdout and stderr that cannot be written: every command, every kind of broken stream, real processes.

What is done is done all the same, nothing ends in a traceback, and the exit code says whether results were lost.
Processes are forked from one that has imported the program; one command starts a fresh interpreter on each kind.
"""

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.streams import READER_GONE
from tests.exhaustive import few_of
from tests.forked import Forked, forks
from tests.ports import held_port
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
from tests.exhaustive import few_of

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
"""The kinds that a few commands are tried on in the quick tests; those that take long on the first alone."""

CHECKED = (*QUICK, (CLOSED, OK))
"""The kinds that a fresh interpreter is tried on there."""

LIGHT: dict[str, tuple[int, str]] = {
    "knobs": (0, "knobs"),
    "knobs as JSON": (0, "knobs --json"),
    "status": (0, "status"),
    "status of one": (0, "status made --json"),
    "watch": (0, "watch made"),
    "one frame of watch": (0, "watch made --once"),
    "finalize": (0, "finalize made"),
    "delete": (0, "delete made --yes --storage sqlite:///copy.db"),
    "help": (0, "--help"),
    "version": (0, "--version"),
    "usage": (2, "run --bogus"),
    "wrong input": (2, "run wrong.yaml"),
}
HEAVY: dict[str, tuple[int, str]] = {
    "export": (0, "export made --output exported"),
    "compare": (0, "compare made --by lr --output compared"),
    "run": (0, "run study.yaml --set name=another"),
    "check": (0, "check study.yaml"),
    "train": (0, "train best.yaml"),
    "filters": (0, "filters best.yaml --output insight"),
    "lr-range": (0, "lr-range best.yaml --steps 30 --output insight"),
    "landscape": (0, "landscape best.yaml --lrs 1e-3,2e-3 --epochs 1 --output insight"),
    "layers": (0, "layers best.yaml"),
}
FEW = ("knobs", "status of one", "delete", "usage", "wrong input", "export")
CASES = [
    pytest.param(
        *command, *kind, id=f"{name}, {kind}", marks=() if name in FEW and kind in quick else pytest.mark.exhaustive
    )
    for commands, quick in ((LIGHT, QUICK), (HEAVY, QUICK[:1]))
    for name, command in commands.items()
    for kind in KINDS
]


@dataclass(frozen=True)
class Place:
    """A folder with a finished study, its storage, and all that commands need."""

    path: Path
    environment: dict[str, str]

    def start(self, arguments: str, out: str, err: str) -> "Started":
        """Start the program on such streams."""
        if out == HUNG_UP:
            master, slave = pty.openpty()
            started = self.start_on(arguments, slave, slave, terminal=True)
            os.close(master)
            return started
        (ours_out, theirs_out), (ours_err, theirs_err) = _stream(out), _stream(err)
        started = self.start_on(arguments, theirs_out, theirs_err)
        return Started(started.process, ours_out, ours_err)

    def start_on(self, arguments: str, out: int | None, err: int | None, terminal: bool = False) -> "Started":
        """Start it on descriptors that are its own from now on."""
        stdin = os.open(os.devnull, os.O_RDONLY)
        streams = (out if terminal else stdin, out, err)
        process = forks().start(arguments.split(), self.path, self.environment, streams, terminal)
        _close(stdin, *{out, err})
        return Started(process)

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


@dataclass(frozen=True)
class Started:
    """A program, and our ends of its pipes."""

    process: Forked
    out: int | None = None
    err: int | None = None

    def communicate(self) -> tuple[int, bytes, bytes]:
        """Its exit code, what it wrote to stdout, and what to stderr; of one that has no pipe, nothing."""
        with ThreadPoolExecutor(2) as readers:
            out, err = readers.map(_read_all, (self.out, self.err))
        return self.process.wait(), out, err


def _close(*descriptors: int | None) -> None:
    for descriptor in descriptors:
        if descriptor is not None:
            os.close(descriptor)


def _read_all(descriptor: int | None) -> bytes:
    if descriptor is None:
        return b""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


def _stream(kind: str) -> tuple[int | None, int | None]:
    """Our end, if anybody reads, and that of the program."""
    if kind == CLOSED:
        return None, None
    if kind == FULL:
        return None, os.open("/dev/full", os.O_WRONLY)
    reading, writing = os.pipe()
    if kind == OK:
        return reading, writing
    os.close(reading)
    return None, writing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    path = tmp_path_factory.mktemp("streams")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("CIFAR_TUNE_")}
    variables |= {"PYTHONPATH": str(Path(__file__).parents[2]), "CIFAR_TUNE_CACHE": str(path / "cache")}
    place = Place(path, variables)
    (path / "study.yaml").write_text(STUDY)
    (path / "chatter.py").write_text(CHATTER)
    (path / "wrong.yaml").write_text("name: made\ntrain: {epochs: 0}\n")
    place.call("run", "study.yaml", "--quiet")
    place.call("export", "made", "--output", "exported")
    place.call("finalize", "made", "--quick")
    shutil.copy(path / "exported" / "best.yaml", path / "best.yaml")
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    """A copy that a command may change."""
    shutil.copytree(finished.path, tmp_path / "place")
    shutil.copy(finished.path / "storage" / "cifar_tune.db", tmp_path / "place" / "copy.db")
    return replace(finished, path=tmp_path / "place")


@pytest.mark.parametrize(("code", "arguments", "out", "err"), CASES)
def test_every_command_on_every_kind_of_broken_stream(
    place: Place, code: int, arguments: str, out: str, err: str
) -> None:
    returned, results, messages = place.start(arguments, out, err).communicate()
    lost = READER_GONE if out == GONE else 1
    has_results = code == 0  # else there are messages on stderr alone
    assert returned == (code or (lost if out != OK and has_results else 0))
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
    started = training.start_on(RUN, writing, writing)
    read_until(reading, b"trial 0: lr")
    os.close(reading)
    (training.path / "go").touch()
    assert started.process.wait() == READER_GONE  # its results had no reader either
    assert training.finished("another") == 2


@pytest.mark.exhaustive
def test_a_run_goes_on_when_its_terminal_is_closed(training: Place) -> None:
    master, slave = pty.openpty()
    started = training.start_on(RUN, slave, slave, terminal=True)
    read_until(master, b"trial 0")
    os.close(master)
    (training.path / "go").touch()
    assert started.process.wait() == 1
    assert training.finished("another") == 2


def test_watch_ends_when_nobody_reads_it(training: Place) -> None:
    """Though the study goes on, and there is nothing new to print."""
    run = training.start(RUN, OK, OK)
    assert run.err is not None
    read_until(run.err, b"trial 0: lr")
    watch = training.start("watch another", OK, OK)
    assert watch.out is not None
    read_until(watch.out, b"another: 0 of 2 trials")
    os.close(watch.out)
    assert replace(watch, out=None).communicate() == (READER_GONE, b"", b"")
    (training.path / "go").touch()
    code, _, _ = run.communicate()
    assert code == 0


@pytest.mark.parametrize(("out", "err"), few_of([QUICK[0], (HUNG_UP, HUNG_UP)], QUICK[:1]))
def test_the_dashboard_serves_on(place: Place, out: str, err: str) -> None:
    with held_port() as port:
        started = place.start(f"dashboard --port {port}", out, err)
        while True:
            assert started.process.poll() is None
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/dashboard") as answer:
                assert answer.status == 200
                break
            time.sleep(0.05)
    started.process.send_signal(signal.SIGINT)
    code, _, messages = started.communicate()
    assert code == (1 if out == HUNG_UP else READER_GONE)  # nobody read the address
    assert b"Traceback" not in messages


@pytest.mark.parametrize(("out", "err"), few_of([kind for kind in KINDS if HUNG_UP not in kind], CHECKED))
def test_a_fresh_interpreter_on_every_kind_of_broken_stream(place: Place, out: str, err: str) -> None:
    (ours_out, theirs_out), (ours_err, theirs_err) = _stream(out), _stream(err)
    closed = [number for number, theirs in ((1, theirs_out), (2, theirs_err)) if theirs is None]
    process = subprocess.Popen(
        [sys.executable, "-m", "cifar_tune", "knobs"],
        cwd=place.path,
        env=place.environment,
        stdout=theirs_out,
        stderr=theirs_err,
        preexec_fn=partial(_close, *closed),  # noqa: PLW1509 (tests start no threads)
    )
    _close(theirs_out, theirs_err)
    results, messages = _read_all(ours_out), _read_all(ours_err)
    assert process.wait() == {OK: 0, GONE: READER_GONE}.get(out, 1)
    assert b"Traceback" not in messages
    assert bool(results) == (out == OK)
    assert (b"cifar-tune: the results could not be written to stdout: " in messages) == (
        err == OK and out in {FULL, CLOSED}
    )


def test_results_that_the_encoding_does_not_know_are_escaped(place: Place) -> None:
    named = replace(place, environment=place.environment | {"PYTHONIOENCODING": "iso8859-1"})
    code, results, messages = named.start("export made --output 日本", OK, OK).communicate()
    assert (code, messages) == (0, b"")
    assert rb"\u65e5\u672c/report.html" in results.splitlines()
