"""How many executors there are, and what is said about it."""

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Died, Ready, Refused, Report


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("workers", "threads", "started", "noted"),
    [(None, 1, 2, False), (None, 2, 1, False), (3, 1, 3, True), (1, 1, 1, False)],
)
def test_auto_fits_the_cores(
    workers: int | None, threads: int, started: int, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.executors.local.cpu_count", lambda: 2)
    notes: list[str] = []
    executors = LocalExecutors(workers, ("cpu",), threads, notes.append)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        assert executors.workers == started
    finally:
        executors.close(lambda: True)
    needed = "3 at a time with `threads: 1` need 3 cores, and this machine offers 2: they slow each other down"
    assert [needed in note for note in notes] == [True] * noted


def test_auto_gives_each_named_device_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.local.cpu_count", lambda: 8)
    executors = LocalExecutors(None, ("cpu", "cpu"), 1, lambda _note: None)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        assert executors.workers == 2
    finally:
        executors.close(lambda: True)


def refuses_the_second_time(connection: Connection, device: str, slot: int) -> None:
    """Starts and dies at once, and whatever takes its place refuses; that of slot 0 does nothing wrong."""
    mark = Path(device)
    if slot and mark.exists():
        connection.send(Refused("not here any more"))
        return
    connection.send(Ready("cpu", {}))
    if slot:
        mark.touch()
        os._exit(3)
    connection.recv()


def test_one_that_refuses_in_the_place_of_a_dead_one_is_given_up(tmp_path: Path) -> None:
    executors = LocalExecutors(2, (str(tmp_path / "mark"),), 1, lambda _note: None, refuses_the_second_time)
    heard: list[Report | Died] = []
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        deadline = time.monotonic() + 60
        while not any(isinstance(report, Refused) for report in heard) and time.monotonic() < deadline:
            heard += executors.reports(0.2)
        assert sorted(type(report).__name__ for report in heard) == ["Died", "Ready", "Ready", "Refused"]
        assert executors.workers == 1
        assert executors.idle()
        assert executors.reports(0.5) == [], "nobody is begun in its place"
    finally:
        executors.close(lambda: True)
