"""Runs and servers die, and no study is lost."""

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import delete

from cifar_tune.errors import CheckError
from cifar_tune.service import one_server, submissions
from cifar_tune.service.deaths import MOST_DEATHS, Deaths
from cifar_tune.service.runs import Processes
from cifar_tune.service.tables import SUBMISSIONS
from cifar_tune.storage.lease import acquire, owner_of
from tests.exhaustive import few_of
from tests.waiting import PATIENCE, wait_until

from .lab import ON_SQLITE, STAND_IN, Lab, files_of_runs


@ON_SQLITE
def test_a_run_that_dies_goes_on_until_it_has_died_three_times_without_an_epoch(lab: Lab) -> None:
    lab.submit("study")
    for life in range(1, MOST_DEATHS + 2):
        lab.until(lambda: len(lab.starts("study")) == life)  # noqa: B023
        if life == MOST_DEATHS - 1:
            lab.order("study", "epoch")
            lab.until(lambda: not (lab.folder / "study.order").exists())
        lab.order("study", "die")
        lab.until(lambda: not (lab.folder / "study.order").exists())
    lab.until(lambda: lab.state("study") == "failed")
    assert len(lab.starts("study")) == MOST_DEATHS + 1, "an epoch in between starts the count again"
    failed = lab.desk.submission("study")
    assert failed.exit_code == 1
    assert failed.message is not None
    assert failed.message.startswith(
        "its process died 3 times in a row without finishing an epoch (killed by signal 9)"
    )
    assert failed.message.endswith("something terrible")


@ON_SQLITE
def test_a_study_that_ran_at_the_time_of_a_copy_goes_on(lab: Lab) -> None:
    lab.submit("study")
    with lab.engine.begin() as connection:
        assert submissions.begin(connection, lab.desk.submission("study").id)
    lab.until(lambda: len(lab.starts("study")) == 1)
    (said,) = [line for line in lab.said if "process" in line]
    assert said.startswith("study: nothing is known of its process here, since the server stopped just then or the")


@ON_SQLITE
def test_a_death_is_told_until_an_epoch_has_ended_since(lab: Lab) -> None:
    lab.submit("study")
    lab.until(lambda: len(lab.starts("study")) == 1)
    lab.order("study", "die")
    lab.until(lambda: len(lab.starts("study")) == 2)
    lab.replace_server()  # another one knows it too
    for _ in range(5):
        lab.server.look()
    assert "its process died" in str(lab.desk.submission("study").message)
    lab.order("study", "epoch")
    lab.until(lambda: lab.desk.submission("study").message is None)
    assert (lab.state("study"), lab.desk.submission("study").deaths) == ("running", 0)


@pytest.mark.parametrize("url", few_of(["sqlite", "postgresql", "mysql"], ["sqlite"]), indirect=True)
def test_a_server_that_was_killed_finds_its_runs_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_server, "_STARTING_SECONDS", 0.0)
    lab.server.end()
    lab.submit("study")
    program = f"""
import sys
import time
from cifar_tune.service.one_server import server_lease
from cifar_tune.service.supervising import *
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.urls import storage_url
url = storage_url({lab.url.render_as_string(hide_password=False)!r})
engine = open_storage(url).engine
program, folder = {str(STAND_IN)!r}, {str(lab.folder)!r}
command = lambda number, devices: [sys.executable, program, str(number), ",".join(devices), folder]
Supervisor(engine, url, server_lease(engine), Settings(("cpu",), command=command), print).run(lambda: False)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as killed:
        try:
            deadline = time.monotonic() + PATIENCE
            while lab.held("study") != "cpu":
                assert time.monotonic() < deadline
                time.sleep(0.05)
            said = f"process {killed.pid} on .* serves this storage already, which is still starting"
            with pytest.raises(CheckError, match=said):
                lab.new_server()
        finally:
            killed.send_signal(signal.SIGKILL)
    lab.server = lab.new_server(slots=2)
    lab.until(lambda: lab.held("study") == "cpu,cpu")  # it grows, and is no other process
    (pid,) = lab.starts("study")
    os.kill(pid, 0)
    lab.server.end()
    assert lab.state("study") == "queued", "parked"
    assert lab.desk.submission("study").device_seconds > 0
    lab.server = lab.new_server()
    lab.until(lambda: len(lab.starts("study")) == 2)


@ON_SQLITE
def test_nothing_is_left_of_a_run_that_ended_while_no_server_was_there(lab: Lab) -> None:
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    assert files_of_runs(lab) == ["1.json", "1.lock"]
    lab.order("study", "end 0")
    wait_until(lambda: lab.state("study") == "done")
    lab.replace_server()
    lab.until(lambda: files_of_runs(lab) == [])


@ON_SQLITE
def test_machines_that_are_switched_off_again_and_again_fail_no_study_that_advances(lab: Lab) -> None:
    lab.submit("study")
    for life in range(1, MOST_DEATHS + 2):
        lab.until(lambda: len(lab.starts("study")) == life)  # noqa: B023
        lab.order("study", "epoch")
        wait_until(lambda: not (lab.folder / "study.order").exists())
        lab.order("study", "die")
        wait_until(lambda: owner_of(lab.engine, "study") is None)
        lab.replace_server()
    lab.until(lambda: len(lab.starts("study")) == MOST_DEATHS + 2)
    assert lab.desk.submission("study").deaths == 1


@ON_SQLITE
def test_slots_of_a_run_that_died_are_free_also_where_somebody_else_goes_on_with_its_study(lab: Lab) -> None:
    lab.submit("study", priority=1)
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    lab.order("study", "die")
    wait_until(lambda: owner_of(lab.engine, "study") is None)
    theirs = acquire(lab.engine, "study")
    lab.submit("other")
    lab.until(lambda: "runs it already" in str(lab.desk.submission("study").waits))
    lab.desk.pause("study")
    lab.until(lambda: lab.held("other") == "cpu,cpu")
    theirs.release()


@ON_SQLITE
def test_a_submission_that_is_deleted_at_this_instant_has_ended(lab: Lab) -> None:
    lab.submit("study")
    found = lab.desk.submission("study")
    with lab.engine.begin() as connection:
        connection.execute(delete(SUBMISSIONS))
    assert Deaths(lab.engine, Processes(), print).record(found, None, {})
