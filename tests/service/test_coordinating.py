"""The process that runs a submission: what it hears, and what it writes at its end."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from benchmarks.process_tree import executors_of
from cifar_tune.cli.stopping import Stopped, stop_stored
from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import coordinating, submissions
from cifar_tune.service.coordinating import NICENESS, End, coordinate
from cifar_tune.service.ends import note_end
from cifar_tune.service.people import Actor
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import SERVER_LEASE
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.rdb import close, open_storage, unusable
from cifar_tune.storage.records import load_record
from cifar_tune.storage.wishes import ask_for_devices
from cifar_tune.study.events import StopRequests
from tests.processes import Program, call_cifar_tune, start_cifar_tune
from tests.waiting import PATIENCE, PLUGIN, Gate, read_until, wait_until

STUDY = f"""
name: submitted
budget: {{trials: 2}}
sampler: {{name: random, seed: 1}}
pruner: {{name: none}}
data: {{name: digits, val_size: 100, train_size: 100}}
plugins: [{PLUGIN}]
train: {{model: cnn2, width: 4, epochs: 3, batch_size: 64, augment: [wait_for_test]}}
search_space:
  lr: {{low: 1e-3, high: 1e-1, log: true}}
"""
PROGRAM = "import runpy; runpy.run_module('cifar_tune.service.coordinating', run_name='__main__', alter_sys=True)"


class Place:
    """A folder in which people submit, with its storage, and a gate for the trainings."""

    def __init__(self, path: Path, url: URL, engine: Engine) -> None:
        self.path = path
        self.url = url
        self.engine = engine
        self.gate = Gate(path)
        self.desk = StorageDesk(engine, url, Actor("anna", "editor"))

    def submit(self, text: str = STUDY) -> Submission:
        made = self.desk.submit(text)
        self.begin(made)
        return made

    def begin(self, submission: Submission) -> None:
        """As the server does it."""
        with self.engine.begin() as connection:
            assert submissions.begin(connection, submission.id)

    def start(self, submission: Submission, devices: str = "cpu") -> Program:
        environment = os.environ | {"CIFAR_TUNE_STORAGE": self.url.render_as_string(hide_password=False)}
        return start_cifar_tune((str(submission.id), "--devices", devices), self.path, environment, PROGRAM)

    def stop(self) -> tuple[int, str]:
        environment = os.environ | {"CIFAR_TUNE_STORAGE": self.url.render_as_string(hide_password=False)}
        code, out, _ = call_cifar_tune(("stop", "submitted"), self.path, environment)
        return code, out

    def end(self, process: Program) -> tuple[int | None, str]:
        _, err = process.communicate(timeout=PATIENCE)
        return process.returncode, err

    def now(self, submission: Submission) -> tuple[str, int | None, str | None]:
        found = self.desk.submission(submission.study)
        return found.state, found.exit_code, found.message

    def last_event(self) -> tuple[str, str, str]:
        event = self.desk.events()[-1]
        return event.actor, event.action, event.outcome


@pytest.fixture
def place(tmp_path: Path, sqlite_url: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "artifacts"))
    storage: BatchStorage = open_storage(sqlite_url)
    yield Place(tmp_path, sqlite_url, storage.engine)
    close(storage)


def test_it_hears_wishes_goes_on_after_kills_and_writes_its_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.gate.let(0)
    submission = place.submit()
    process = place.start(submission)
    read_until(process, "trial 0: ")
    at_work = [process.pid, *executors_of(process.pid)]
    assert len(at_work) == 2
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in at_work} == {NICENESS}, "pages come first"
    ask_for_devices(place.engine, "submitted", ["cpu", "cpu"], SERVER_LEASE)
    assert "2 workers (2 on cpu) from now on instead of 1" in read_until(process, "from now on")
    read_until(process, "trial 1: ")
    monkeypatch.setattr("cifar_tune.service.people.getuser", lambda: "ben")
    stopped, out = place.stop()
    code, err = place.end(process)
    assert (stopped, code) == (0, 130), err
    assert out.endswith("submitted: 2 WAITING\nit is paused; go on with: cifar-tune resume submitted\n")
    assert "Traceback" not in err
    assert place.now(submission) == ("paused", None, "stopped by ben"), "the server must not go on at once"
    assert place.last_event() == ("ben", "stop", "done")

    place.desk.resume("submitted")
    place.begin(submission)
    place.gate.let(1)
    process = place.start(submission, "cpu,cpu")
    read_until(process, "trial 1")
    process.kill()
    place.end(process)
    wait_until(lambda: owner_of(place.engine, "submitted") is None)
    assert place.now(submission)[0] == "running", "the server finds out, and has it begun again"

    place.gate.open()
    end = coordinate(place.url, submission.id, ["cpu"], StopRequests())
    assert end.exit_code == 0
    assert end.message.startswith("its budget is used up; best val_accuracy 0.")
    assert place.now(submission) == ("done", 0, end.message)
    assert place.last_event() == (SERVER_LEASE, "end", "done")
    storage = open_storage(place.url)
    assert dict(load_record(storage, "submitted").counts) == {"COMPLETE": 2}
    close(storage)


def note_end_durably(connection: Connection, *given: Any) -> None:
    """As `note_end`; what was said to have happened must outlast a power cut."""
    assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
    note_end(connection, *given)


def test_what_the_server_parks_is_queued_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinating, "note_end", note_end_durably)
    submission = place.submit()
    stop = StopRequests()
    stop.count = 1
    assert coordinate(place.url, submission.id, ["cpu"], stop).exit_code == 130
    assert place.now(submission) == ("queued", None, "parked")
    assert place.last_event() == (SERVER_LEASE, "park", "done")
    said = "nobody runs submitted\nsubmitted: no trials\nit is paused; go on with: cifar-tune resume submitted\n"
    assert place.stop() == (0, said)
    assert place.now(submission) == ("paused", None, "parked")


def test_a_run_is_stopped_also_before_it_has_read_its_images(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_for_ever(_: object, decoding: Callable[[int, int], None]) -> None:
        while True:
            decoding(0, 1)
            time.sleep(0.01)

    monkeypatch.setattr("cifar_tune.study.run.prepare", read_for_ever)
    submission = place.submit()
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(coordinate, place.url, submission.id, ["cpu"], StopRequests())
        wait_until(lambda: owner_of(place.engine, "submitted") is not None)
        assert len(place.desk.stop("submitted").asked) == 1
        assert ended.result().message == "stopped by anna"
    assert place.now(submission) == ("paused", None, "stopped by anna")
    assert owner_of(place.engine, "submitted") is None


def test_who_stops_a_study_that_was_just_begun_waits_for_its_server(place: Place) -> None:
    submission, server, said = place.submit(), acquire(place.engine, SERVER_LEASE), list[str]()
    storage = open_storage(place.url)

    def park() -> None:
        wait_until(lambda: place.desk.submission("submitted").wanted == "pause" and bool(said))
        with place.engine.begin() as connection:
            submissions.end(connection, submission.id, submissions.INTERRUPTED, "parked")

    with ThreadPoolExecutor() as threads:
        parked = threads.submit(park)
        assert stop_stored(storage, place.url, "submitted", said.append) == Stopped((), is_submitted=True)
        parked.result()
    assert said == ["waiting until the server has parked submitted, which it has just begun"]
    assert place.now(submission)[0] == "paused"
    close(storage)
    server.release()


def test_a_study_that_another_process_runs_waits_for_it(place: Place) -> None:
    submission = place.submit()
    lease = acquire(place.engine, "submitted")
    end = coordinate(place.url, submission.id, ["cpu"], StopRequests())
    lease.release()
    assert end.exit_code == 130
    assert place.now(submission) == ("queued", None, end.message)
    assert "the study 'submitted' is being run by process" in end.message


def test_a_database_that_is_away_fails_no_study(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = place.submit()

    def run(*_: object) -> None:
        raise unusable(place.url, OperationalError("SELECT", {}, Exception("refused"))) from OperationalError(
            "SELECT", {}, Exception("refused")
        )

    monkeypatch.setattr(coordinating, "run_study", run)
    end = coordinate(place.url, submission.id, ["cpu"], StopRequests())
    assert end.exit_code == submissions.LATER
    assert place.now(submission) == ("queued", None, end.message)
    assert place.last_event() == (SERVER_LEASE, "park", "failed")


def test_an_end_that_cannot_be_written_is_no_other_end(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(*_: object) -> None:
        raise CheckError("the database is away")

    monkeypatch.setattr(coordinating, "_run", lambda *_: End(0, "its budget is used up"))
    monkeypatch.setattr(coordinating, "_write_end", write)
    assert coordinate(place.url, place.submit().id, ["cpu"], StopRequests()).exit_code == 0
    assert "could not be written into the submission" in capsys.readouterr().err


def test_wrong_input_fails_with_all_that_is_wrong(place: Place) -> None:
    submission = place.submit()
    (place.path / PLUGIN).unlink()
    end = coordinate(place.url, submission.id, ["cpu"], StopRequests())
    assert end.exit_code == 2
    assert f"{PLUGIN}" in end.message
    assert place.now(submission) == ("failed", 2, end.message)
    assert place.last_event() == (SERVER_LEASE, "end", "failed")


def test_a_submission_that_is_gone_is_said_to_be(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    end = coordinate(place.url, 4711, ["cpu"], StopRequests())
    assert (end.exit_code, end.message) == (1, "there is no submission 4711; it was deleted")
    assert "there is no submission 4711" in capsys.readouterr().err


def test_an_unexpected_error_ends_it_and_tells_no_password(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submission = place.submit()
    url = place.url.set(query={"password": "geheim"})

    def broken(*_: object) -> None:
        raise RuntimeError(f"no idea what to do with {url.render_as_string(hide_password=False)}")

    monkeypatch.setattr(coordinating, "run_study", broken)
    monkeypatch.setattr(coordinating, "open_patiently", lambda _url, *_, **_more: open_storage(place.url))
    end = coordinate(url, submission.id, ["cpu"], StopRequests())
    assert end.exit_code == 1
    assert end.message.startswith("an unexpected error ended it: RuntimeError: no idea what to do with")
    assert place.now(submission) == ("failed", 1, end.message)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "geheim" not in said + end.message
