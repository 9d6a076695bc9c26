"""One coordinator per study at a time, also when processes die."""

import fcntl
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect
from sqlalchemy.engine import URL

from cifar_tune.errors import CheckError
from cifar_tune.storage import lease
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.rdb import close, open_storage
from tests.processes import Program, start_cifar_tune
from tests.waiting import PATIENCE, is_alive, wait_until

from .conftest import FreshUrl
from .contenders import CONTEND, HOLD, READY, STUDIES

HOST = socket.gethostname()


@pytest.fixture
def engine(database: URL) -> Iterator[Engine]:
    storage = open_storage(database)
    yield storage.engine
    close(storage)


@contextmanager
def holder(url: URL, study: str) -> Iterator[Program]:
    """Another process that holds the lease."""
    arguments = (url.render_as_string(hide_password=False), study)
    process = start_cifar_tune(arguments, Path.cwd(), os.environ, HOLD)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_of_two_processes_on_a_new_database_exactly_one_wins(fresh_url: FreshUrl, tmp_path: Path) -> None:
    urls = [fresh_url().render_as_string(hide_password=False) for _ in range(4)]
    ends: dict[tuple[int, str], dict[int, str]] = {}
    with ExitStack() as locks:
        steps = [
            locks.enter_context((tmp_path / f"{step}").open("w")) for step in range(len(urls) * (1 + len(STUDIES)))
        ]
        for step in steps:
            fcntl.flock(step, fcntl.LOCK_EX)
        processes = [start_cifar_tune((str(tmp_path), *urls), Path.cwd(), os.environ, CONTEND) for _ in range(2)]
        for step in steps:
            for process in processes:
                assert process.stdout is not None
                while (line := process.stdout.readline()) != READY:
                    number, study, end = json.loads(line)
                    ends.setdefault((number, study), {})[process.pid] = end
            fcntl.flock(step, fcntl.LOCK_UN)  # for both at once
    for process in processes:
        process.communicate(timeout=PATIENCE)
    assert len(ends) == len(urls) * len(STUDIES)
    for (_, study), found in ends.items():
        [winner] = [pid for pid, end in found.items() if end == "won"]
        [lost] = [end for end in found.values() if end != "won"]
        assert lost.startswith(f"the study {study!r} is being run by process {winner} on {HOST}; wait for it")


def test_a_living_owner_keeps_it(database: URL, engine: Engine) -> None:
    with holder(database, "held") as process:
        with pytest.raises(CheckError) as raised:
            acquire(engine, "held")
        assert re.fullmatch(
            rf"the study 'held' is being run by process {process.pid} on {re.escape(HOST)}; wait for it, or stop it "
            r"first \(if it is gone, its lease ends in \d+ s\)",
            str(raised.value),
        )
        assert raised.value.exit_code == 1
        assert str(owner_of(engine, "held")) == f"process {process.pid} on {HOST}"
        acquire(engine, "another").release()


@pytest.mark.parametrize("noticed", [True, False], ids=["gone", "zombie"])
def test_a_killed_owner_is_followed_at_once(database: URL, engine: Engine, noticed: bool) -> None:
    with holder(database, "held") as process:
        os.kill(process.pid, signal.SIGKILL)
        if noticed:
            process.communicate()
        else:
            wait_until(lambda: not is_alive(process.pid))  # it is dead, and its parent has not looked
        assert owner_of(engine, "held") is None
        mine = acquire(engine, "held")
        assert str(owner_of(engine, "held")) == f"process {os.getpid()} on {HOST}"
        mine.release()


def test_it_is_released(engine: Engine) -> None:
    acquire(engine, "s").release()
    assert owner_of(engine, "s") is None
    acquire(engine, "s")
    with pytest.raises(CheckError, match=f"process {os.getpid()} on"):
        acquire(engine, "s")


def test_an_expired_one_is_taken_over_and_its_owner_finds_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", -1)
    old = acquire(engine, "s")
    assert owner_of(engine, "s") is None
    monkeypatch.undo()
    new = acquire(engine, "s")
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0)  # every renewal is due
    with pytest.raises(CheckError, match="another process took over the study 's'; this one stops"):
        old.renew_if_due()
    monkeypatch.undo()
    old.release()
    assert owner_of(engine, "s") is not None, "a lease is released by its own owner alone"
    new.release()
    assert owner_of(engine, "s") is None


def test_it_is_renewed_when_due(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = acquire(engine, "s")
    monkeypatch.setattr(lease, "LEASE_SECONDS", -1)
    mine.renew_if_due()
    assert owner_of(engine, "s") is None, "renewed, with the expiry of now"
    monkeypatch.undo()
    mine.renew_if_due()
    assert owner_of(engine, "s") is None, "not due again so soon"
    monkeypatch.setattr(mine, "_renewed", 0.0)
    monkeypatch.setattr(lease, "_now", lambda: lease.LEASE_SECONDS / 4 + 1)
    mine.renew_if_due()
    assert owner_of(engine, "s") is not None


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a clock of Linux")
def test_it_is_renewed_first_of_all_after_the_machine_slept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`time.monotonic` stands still meanwhile, and somebody else may have the study."""
    mine = acquire(engine, "s")
    mine.release()
    woken = time.clock_gettime(time.CLOCK_BOOTTIME) + 3600.0
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: woken}.__getitem__)
    with pytest.raises(CheckError, match="took over"):
        mine.renew_if_due()


def test_a_renewed_one_that_was_released_is_lost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = acquire(engine, "s")
    mine.release()
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0)
    with pytest.raises(CheckError, match="took over"):
        mine.renew_if_due()


def test_a_process_on_another_machine_counts_as_alive_until_its_lease_ends(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_host", lambda: "elsewhere/b0075-1d")
    monkeypatch.setattr(lease, "_process_started", lambda pid: "a process that nobody here can see")
    acquire(engine, "s")
    monkeypatch.undo()
    assert str(owner_of(engine, "s")) == f"process {os.getpid()} on elsewhere"
    with pytest.raises(CheckError, match="on elsewhere; wait for it"):
        acquire(engine, "s")


def test_a_process_number_that_was_given_away_again_is_not_the_owner(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_process_started", lambda pid: "an earlier process")
    acquire(engine, "s")
    monkeypatch.undo()
    assert owner_of(engine, "s") is None
    acquire(engine, "s")


def test_looking_for_an_owner_changes_nothing(engine: Engine) -> None:
    assert owner_of(engine, "s") is None
    assert not inspect(engine).has_table("cifar_tune_leases")


def test_whoever_was_quicker_is_named_and_not_the_dead_owner(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_process_started", lambda pid: "long gone")
    monkeypatch.setattr(os, "getpid", lambda: 2**31 - 1)
    acquire(engine, "s")
    monkeypatch.undo()
    read = lease._read

    def slow_read(engine: Engine, study: str) -> object:
        held = read(engine, study)
        monkeypatch.undo()
        acquire(engine, study)  # meanwhile another process does the same
        return held

    monkeypatch.setattr(lease, "_read", slow_read)
    with pytest.raises(CheckError, match=f"is being run by process {os.getpid()} on"):
        acquire(engine, "s")


def test_a_study_with_a_name_of_any_length_can_be_leased(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a" * 253)
    lease._host.cache_clear()
    one, other = "ä" * 400 + "1", "ä" * 400 + "2"
    try:
        held = acquire(engine, one)
        acquire(engine, other)
        with pytest.raises(CheckError, match="is being run by process"):
            acquire(engine, one)
        held.renew()
        assert str(owner_of(engine, one)) == f"process {os.getpid()} on {'a' * 253}"[: len(str(owner_of(engine, one)))]
        held.release()
        assert owner_of(engine, one) is None
        assert owner_of(engine, other) is not None
    finally:
        lease._host.cache_clear()
