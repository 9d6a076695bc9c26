"""What surrounds the coordinator is put in order again, wherever a run ends."""

import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.errors import UserError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.rdb import open_storage
from cifar_tune.study import run
from cifar_tune.study.events import Observer, StopRequests, TrialEnd
from cifar_tune.training.results import EpochResult

from .conftest import spec_of
from .scripted import Script, ScriptedExecutors


class Pool(ScriptedExecutors):
    """Does not start."""

    def wait_for_start(self, *_arguments: object) -> None:
        raise UserError("no such device")


def test_a_run_that_fails_closes_executors_and_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, closed = Pool(Script()), list[RDBStorage]()
    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: pool)
    monkeypatch.setattr(run, "close", closed.append)
    with pytest.raises(UserError, match="no such device"):
        run.run_study(
            spec_of({}), make_url(f"sqlite:///{tmp_path}/s.db"), Observer(), ExecutorOptions(), StopRequests()
        )
    assert pool.closed
    assert len(closed) == 1


def test_after_an_error_the_study_is_free_when_no_executor_runs_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(f"sqlite:///{tmp_path}/s.db")
    free: list[bool] = []

    class Closing(ScriptedExecutors):
        def close(self, at_once: Callable[[], bool]) -> None:
            free.append(owner_of(open_storage(url).engine, "test") is None)

    def broken(*_arguments: object) -> None:
        raise UserError("cannot be opened")

    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: Closing(Script()))
    monkeypatch.setattr(run, "open_study", broken)
    with pytest.raises(UserError, match="cannot be opened"):
        run.run_study(spec_of({}), url, Observer(), ExecutorOptions(), StopRequests())
    assert free[0] is False


def test_a_stop_while_executors_begin_is_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object, **_more: object) -> Callable[[], None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "LocalExecutors", interrupted)
    outcome = run.run_study(
        spec_of({}), make_url(f"sqlite:///{tmp_path}/s.db"), Observer(), ExecutorOptions(), StopRequests()
    )
    assert (outcome.ending, outcome.record) == ("interrupted", None)


class Broken(Observer):
    """Fails in every way; `said` is what it was asked to say."""

    said: ClassVar[list[str]] = []

    def note(self, text: str) -> None:
        self.said.append(text)
        raise OSError("no terminal")

    def decoding(self, done: int, total: int) -> None:
        raise KeyError(done)

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        raise BrokenPipeError(number)

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        raise ZeroDivisionError

    def ended(self, end: TrialEnd) -> None:
        raise UserError("not even that")


def test_an_observer_that_fails_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: ScriptedExecutors(Script()))
    spec = spec_of({"budget": {"trials": 3}})
    outcome = run.run_study(spec, make_url(f"sqlite:///{tmp_path}/s.db"), Broken(), ExecutorOptions(), StopRequests())
    assert outcome.record is not None
    assert (outcome.ending, outcome.record.finished) == ("budget", 3)
    assert Broken.said[0].startswith("progress could not be shown (KeyError: ")
    assert sum(note.startswith("progress could not be shown") for note in Broken.said) == 1


class StopsAfter(Observer):
    """Asks to stop after a trial's first epochs, and sees what the process has for signals and results meanwhile."""

    def __init__(self, stop: StopRequests, epochs: int) -> None:
        self._stop = stop
        self._epochs = epochs
        self.seen: set[object] = set()

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        self.seen |= {signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout}
        if result.epoch == self._epochs:
            self._stop.count += 1


def run_in_a_thread(url: URL, options: ExecutorOptions, stop: StopRequests, observer: Observer) -> run.Outcome:
    """Run a study of two trials in another thread: the process keeps its signals and its stdout meanwhile."""
    spec = spec_of({"budget": {"trials": 2}, "train": {"model": "cnn2", "width": 4, "epochs": 2}})
    before = {signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout}
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(run.run_study, spec, url, observer, options, stop).result()
    assert {signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout} == before
    return outcome


def require_that_a_thread_can_be_stopped(url: URL, options: ExecutorOptions) -> None:
    """Run a study in another thread, and stop it in its first trial."""
    before = {signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout}
    stop = StopRequests()
    stopping = StopsAfter(stop, 1)
    parked = run_in_a_thread(url, options, stop, stopping)
    assert (parked.ending, parked.has_begun) == ("interrupted", True)
    assert parked.record is not None
    assert parked.record.counts["WAITING"] == 1
    assert stopping.seen == before


def test_another_thread_runs_a_study_and_the_process_keeps_its_signals_and_its_stdout(tmp_path: Path) -> None:
    """The same on Ray is in `tests.study.test_ray`."""
    url = make_url(f"sqlite:///{tmp_path}/s.db")
    require_that_a_thread_can_be_stopped(url, ExecutorOptions())
    ended = run_in_a_thread(url, ExecutorOptions(), StopRequests(), Observer())
    assert ended.record is not None
    assert (ended.ending, ended.record.counts["COMPLETE"]) == ("budget", 2)
