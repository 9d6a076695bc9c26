"""How many executors there are, and what is said about it."""

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors import worker
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Died, Job, Notice, Ready, Refused, Report
from tests.waiting import PATIENCE


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
    """Starts and dies when it is told to, and whatever takes its place refuses; that of slot 0 does nothing wrong."""
    mark = Path(device)
    if slot and mark.exists():
        connection.send(Refused("not here any more"))
        return
    connection.send(Ready("cpu", {}))
    if slot:
        while not (mark.parent / "die").exists():
            time.sleep(0.02)
        mark.touch()
        os._exit(3)
    connection.recv()


def test_one_that_refuses_in_the_place_of_a_dead_one_is_given_up(tmp_path: Path) -> None:
    executors = LocalExecutors(2, (str(tmp_path / "mark"),), 1, lambda _note: None, refuses_the_second_time)
    heard: list[Report | Died] = []
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        (tmp_path / "die").touch()
        deadline = time.monotonic() + PATIENCE
        while not any(isinstance(report, Refused) for report in heard) and time.monotonic() < deadline:
            heard += executors.reports(0.2)
        assert sorted(type(report).__name__ for report in heard) == ["Died", "Ready", "Ready", "Refused"]
        assert executors.workers == 1
        assert executors.idle()
        assert executors.reports(0.5) == [], "nobody is begun in its place"
    finally:
        executors.close(lambda: True)


def dies_once(connection: Connection, device: str, slot: int) -> None:
    """That of slot 0 dies at once, and the next one there is ready; that of slot 1 is ready only after that."""
    mark = Path(device)
    if slot == 0 and not mark.exists():
        mark.touch()
        os._exit(3)
    while slot and not (mark.parent / "slot 0 is ready").exists():
        time.sleep(0.02)
    connection.send(Ready("cpu", {}))
    if slot == 0:
        (mark.parent / "slot 0 is ready").touch()
    connection.recv()


def test_a_crash_at_start_is_no_answer_and_all_slots_are_waited_for(tmp_path: Path) -> None:
    executors = LocalExecutors(2, (str(tmp_path / "mark"),), 1, lambda _note: None, dies_once)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        assert sorted(type(report).__name__ for report in executors.reports(0.0)) == ["Died", "Ready", "Ready"]
        for number in range(2):
            assert executors.idle()
            executors.submit(Job(number, {}, DataSpec(name="digits"), tmp_path / "none"))
    finally:
        executors.close(lambda: True)


def never_starts_in_slot_1(connection: Connection, device: str, slot: int) -> None:
    if slot:
        os._exit(4)
    connection.send(Ready("cpu", {}))
    connection.recv()


def test_a_slot_that_is_given_up_gets_no_other_executor() -> None:
    executors = LocalExecutors(2, ("cpu",), 1, lambda _note: None, never_starts_in_slot_1)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        executors.give_up(1)
        assert executors.workers == 1
        assert {type(report) for report in executors.reports(0.2)} <= {Ready, Died}
        assert executors.reports(0.5) == [], "nobody is begun in its place"
        assert executors.idle()
    finally:
        executors.close(lambda: True)


def ends_slowly(connection: Connection, device: str, slot: int) -> None:
    """That of slot 0 closes its connection at its first job, and ends when a file says so; the other one goes on."""
    folder = Path(device)
    connection.send(Ready("cpu", {}))
    job: Job = connection.recv()
    if slot == 0:
        (folder / "pid").write_text(str(os.getpid()))
        connection.close()
        while not (folder / "end").exists():
            time.sleep(0.02)
        os._exit(7)
    while not (folder / "pid").exists():
        time.sleep(0.02)
    connection.send(Notice(job.number, "still here"))
    connection.recv()


def test_the_others_are_heard_while_one_takes_its_time_to_end(tmp_path: Path) -> None:
    executors = LocalExecutors(2, (str(tmp_path),), 1, lambda _note: None, ends_slowly)
    heard: list[Report | Died] = []

    def hear(kind: type[Report | Died]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not any(isinstance(report, kind) for report in heard) and time.monotonic() < deadline:
            heard.extend(executors.reports(0.2))

    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        heard += executors.reports(0.0)
        for number in range(2):
            executors.submit(Job(number, {}, DataSpec(name="digits"), tmp_path / "none"))
        hear(Notice)
        assert [type(report) for report in heard] == [Ready, Ready, Notice]
        assert (tmp_path / "pid").exists()
        os.kill(int((tmp_path / "pid").read_text()), 0)  # it was not waited for, and is not killed
        assert not executors.idle(), "nobody may be given to it"
        (tmp_path / "end").touch()
        hear(Died)
        (died,) = (report for report in heard if isinstance(report, Died))
        assert (died.number, died.cause, died.slot) == (0, "exit code 7", 0)
    finally:
        executors.close(lambda: True)


def test_one_that_hangs_in_ending_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.local._GRACE_SECONDS", 0.5)
    executors = LocalExecutors(1, (str(tmp_path),), 1, lambda _note: None, ends_slowly)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        assert [type(report) for report in executors.reports(0.0)] == [Ready]
        executors.submit(Job(5, {}, DataSpec(name="digits"), tmp_path / "none"))
        heard: list[Report | Died] = []
        deadline = time.monotonic() + PATIENCE
        while not heard and time.monotonic() < deadline:
            heard += executors.reports(0.2)
        assert heard == [Died(5, "it did not end by itself, and was killed", 0)]
    finally:
        executors.close(lambda: True)


@pytest.mark.parametrize(
    ("name", "resolved", "wanted"),
    [
        ("auto", "cuda", ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("auto", "cpu", ["cpu"] * 4),
        ("cuda:1", "cuda:1", ["cuda:1"] * 4),
    ],
)
def test_auto_spreads_executors_over_the_gpus(
    name: str, resolved: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "resolve_device", lambda _name: torch.device(resolved))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [str(worker._device_of_slot(name, slot)) for slot in range(4)] == wanted
