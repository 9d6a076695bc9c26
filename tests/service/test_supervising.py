"""One server runs what is submitted: by the plan, through its own death and that of runs, and without losing any."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from cifar_tune.errors import CheckError
from cifar_tune.service import asking, audit, one_server, submissions
from cifar_tune.service.deaths import MOST_DEATHS, Deaths
from cifar_tune.service.one_server import server_lease, tell_address
from cifar_tune.service.runs import Processes, coordinating
from cifar_tune.service.scheduling import Rules
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.supervising import Settings, Supervisor
from cifar_tune.service.tables import SUBMISSIONS
from cifar_tune.service.usage import busy_slots
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.wishes import ask_to_park
from tests.exhaustive import few_of
from tests.service.conftest import DeskOf
from tests.waiting import PATIENCE, wait_until

_STAND_IN = Path(__file__).with_name("stand_in.py")
_RULES = Rules(min_run=0.0)


_ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Lab:
    """A server in this process, and its runs."""

    def __init__(self, engine: Engine, url: URL, folder: Path, desk: StorageDesk) -> None:
        self.engine, self.url, self.folder, self.desk = engine, url, folder, desk
        self.said: list[str] = []
        self.server = self.new_server()

    def new_server(self, slots: int = 2, rules: Rules = _RULES) -> Supervisor:
        settings = Settings(("cpu",) * slots, rules, self._command)
        self.lease = server_lease(self.engine)
        return Supervisor(self.engine, self.url, self.lease, settings, self.said.append)

    def _command(self, number: int, devices: Sequence[str]) -> Sequence[str]:
        return [sys.executable, str(_STAND_IN), str(number), ",".join(devices), str(self.folder)]

    def submit(self, study: str, priority: int = 0, workers: int | None = None, more: str = "") -> None:
        text = f"name: {study}\ndata: {{name: digits}}\nbudget: {{trials: 50}}\n{more}"
        self.desk.submit(text, f"{study}.yaml", priority=priority, workers=workers)

    def replace_server(self) -> None:
        """As if it had been killed, and started again."""
        self.lease.release()
        self.server = self.new_server()

    def state(self, study: str) -> str:
        return self.desk.submission(study).state

    def held(self, study: str) -> str:
        """The devices that the run holds."""
        file = self.folder / f"{study}.devices"
        return file.read_text() if file.exists() else "not begun"

    def starts(self, study: str) -> list[int]:
        """The processes that have run it."""
        file = self.folder / f"{study}.starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def order(self, study: str, order: str) -> None:
        part = self.folder / f"{study}.order.part"  # the process itself writes its devices meanwhile
        part.write_text(order)
        part.replace(self.folder / f"{study}.order")

    def until(self, is_so: Callable[[], bool], server: Supervisor | None = None) -> None:
        """Let the server look until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            (server or self.server).look()
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)


@pytest.fixture
def lab(engine: Engine, url: URL, tmp_path: Path, desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "storage" / "artifacts"))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()), prepend=os.pathsep)
    monkeypatch.setattr("cifar_tune.service.supervising._PARK_SECONDS", PATIENCE)  # what ends is parked, however slowly
    made = Lab(engine, url, tmp_path, desk_of("anna", "admin"))
    yield made
    made.server.end()


@_ON_SQLITE
def test_studies_run_one_after_the_other_and_say_why_they_wait(lab: Lab) -> None:
    lab.submit("first")
    lab.submit("second")
    lab.until(lambda: lab.held("first") == "cpu,cpu")
    lab.until(lambda: lab.desk.submission("second").waits is not None)
    waiting = lab.desk.submission("second")
    assert waiting.waits == "the share of anna is 2 of 2 slots now, and first has that"
    assert waiting.position == 1
    assert lab.server.slots == [("cpu", "first"), ("cpu", "first")]
    lab.order("first", "end 0")
    lab.until(lambda: lab.held("second") == "cpu,cpu")
    assert lab.state("first") == "done"
    assert lab.desk.submission("second").waits is None
    with lab.engine.connect() as connection:
        events = [(event.action, event.target) for event in audit.read(connection) if event.actor != "anna"]
    assert events == [("start", "first"), ("start", "second")]
    lab.desk.cancel("second")
    lab.until(lambda: lab.state("second") == "cancelled")
    lab.until(lambda: lab.server.slots == [("cpu", None), ("cpu", None)])
    counts = [busy for _, busy in busy_slots(lab.engine, 0.0)]
    assert (max(counts), counts[-1]) == (2, 0)


@_ON_SQLITE
def test_a_more_urgent_study_gets_slots_when_they_are_given_up(lab: Lab) -> None:
    lab.submit("long")
    lab.until(lambda: lab.held("long") == "cpu,cpu")
    (lab.folder / "long.hold").touch()
    lab.submit("urgent", priority=5, workers=1)
    for _ in range(20):
        lab.server.look()
    assert lab.state("urgent") == "queued", "both slots are still in use"
    assert lab.desk.submission("urgent").waits == "starts when long has given up slots at the end of an epoch"
    lab.replace_server()
    for _ in range(20):
        lab.server.look()
    assert lab.state("urgent") == "queued", "a new server knows that they are in use"
    (lab.folder / "long.hold").unlink()
    lab.until(lambda: lab.held("urgent") == "cpu")
    assert lab.held("long") == "cpu"
    assert {busy for _, busy in busy_slots(lab.engine, 0.0)} <= {0, 2}, "a slot that is given up is held until then"
    lab.desk.set_workers("urgent", 2)
    lab.until(lambda: lab.held("urgent") == "cpu,cpu")
    lab.until(lambda: lab.state("long") == "queued")
    assert "it has given up all of its slots" in " ".join(lab.said)
    lab.order("urgent", "end 0")
    lab.until(lambda: lab.held("long") == "cpu,cpu" and len(lab.starts("long")) == 2)


@_ON_SQLITE
def test_a_paused_study_waits_until_it_is_resumed(lab: Lab) -> None:
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    lab.desk.pause("study")
    lab.until(lambda: lab.state("study") == "paused")
    for _ in range(5):
        lab.server.look()
    assert len(lab.starts("study")) == 1
    assert "study is being parked: pause was asked for" in lab.said
    lab.desk.resume("study")
    lab.until(lambda: len(lab.starts("study")) == 2)


@_ON_SQLITE
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


@_ON_SQLITE
def test_a_study_that_ran_at_the_time_of_a_copy_goes_on(lab: Lab) -> None:
    lab.submit("study")
    with lab.engine.begin() as connection:
        assert submissions.begin(connection, lab.desk.submission("study").id)
    lab.until(lambda: len(lab.starts("study")) == 1)
    (said,) = [line for line in lab.said if "process" in line]
    assert said.startswith("study: nothing is known of its process here, since the server stopped just then or the")


@_ON_SQLITE
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
program, folder = {str(_STAND_IN)!r}, {str(lab.folder)!r}
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


def test_a_server_that_is_still_starting_is_asked_again_for_its_address(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server_lease(engine)
    said = iter(("http://127.0.0.1:8000/", ""))
    monkeypatch.setattr(time, "sleep", lambda _: tell_address(engine, first, next(said)))
    with pytest.raises(CheckError, match=r"serves this storage already, at http://127\.0\.0\.1:8000/;"):
        server_lease(engine)
    time.sleep(0)
    with pytest.raises(CheckError, match=r"serves this storage already, without pages \(--no-http\);"):
        server_lease(engine)
    first.release()


def _files_of_runs(lab: Lab) -> list[str]:
    return sorted(file.name for file in (lab.folder / "storage" / "service" / "runs").iterdir())


@_ON_SQLITE
def test_nothing_is_left_of_a_run_that_ended_while_no_server_was_there(lab: Lab) -> None:
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    assert _files_of_runs(lab) == ["1.json", "1.lock"]
    lab.order("study", "end 0")
    wait_until(lambda: lab.state("study") == "done")
    lab.replace_server()
    lab.until(lambda: _files_of_runs(lab) == [])


@_ON_SQLITE
def test_a_study_that_somebody_else_runs_is_not_begun(lab: Lab) -> None:
    theirs = acquire(lab.engine, "study")
    lab.submit("study")
    lab.until(lambda: lab.desk.submission("study").waits is not None)
    assert "runs it already; it starts here when that has ended" in str(lab.desk.submission("study").waits)
    theirs.release()
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@_ON_SQLITE
def test_a_server_that_stops_parks_everything(lab: Lab) -> None:
    lab.submit("a", workers=1)
    lab.submit("b", workers=1)
    lab.until(lambda: lab.held("a") == lab.held("b") == "cpu")
    lab.server.end()
    assert [lab.state("a"), lab.state("b")] == ["queued", "queued"]
    assert _files_of_runs(lab) == []


@_ON_SQLITE
def test_what_the_machine_cannot_begin_now_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Processes, "begin", full)
        lab.submit("study")
        lab.until(lambda: "No space left" in str(lab.desk.submission("study").waits))
    assert lab.state("study") == "queued"
    lab.server._beginning._not_before.clear()
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@_ON_SQLITE
def test_a_folder_that_is_gone_ends_a_submission(lab: Lab, tmp_path: Path) -> None:
    text = "name: study\ndata: {name: digits}\n"
    lab.desk.submit(text, "study.yaml", folder=str(tmp_path / "gone"))
    lab.until(lambda: lab.state("study") == "failed")
    assert "No such file or directory" in str(lab.desk.submission("study").message)


@_ON_SQLITE
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


@_ON_SQLITE
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


@_ON_SQLITE
def test_batches_of_one_trial_leave_slots_to_others(lab: Lab) -> None:
    lab.submit("batches", more="deterministic: 1\n")
    lab.submit("other")
    lab.until(lambda: lab.held("batches") == lab.held("other") == "cpu")


@_ON_SQLITE
def test_a_study_of_which_nothing_can_be_read_ends_no_server(lab: Lab) -> None:
    lab.submit("study")
    with lab.engine.begin() as connection:
        connection.execute(update(SUBMISSIONS).values(text="name: [study"))
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@_ON_SQLITE
def test_what_cannot_go_on_for_now_is_begun_again_later(lab: Lab) -> None:
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    lab.order("study", f"end {submissions.LATER}")
    lab.until(lambda: "it is tried again in a minute" in str(lab.desk.submission("study").waits))
    assert (lab.state("study"), len(lab.starts("study"))) == ("queued", 1)


@_ON_SQLITE
def test_the_folder_of_the_service_is_made_again(lab: Lab) -> None:
    shutil.rmtree(lab.folder / "storage" / "service")
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@_ON_SQLITE
def test_a_run_that_cannot_be_asked_at_once_is_asked_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    answers = iter([OperationalError("SELECT", {}, Exception("away")), None])

    def ask(*given: Any) -> object:
        answer = next(answers, "ask")
        if isinstance(answer, Exception):
            raise answer
        return answer and ask_to_park(*given)

    monkeypatch.setattr(Processes, "ask_to_end", lambda *_: False)  # the number of the process is not known
    monkeypatch.setattr(asking, "ask_to_park", ask)
    lab.server.end()
    assert lab.state("study") == "queued"


@_ON_SQLITE
def test_a_submission_that_is_deleted_at_this_instant_has_ended(lab: Lab) -> None:
    lab.submit("study")
    found = lab.desk.submission("study")
    with lab.engine.begin() as connection:
        connection.execute(delete(SUBMISSIONS))
    assert Deaths(lab.engine, Processes(), print).record(found, None, {})


def test_files_in_the_folder_of_a_study_are_no_modules_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError")
    options = coordinating(1, ["cpu"])[: coordinating(1, ["cpu"]).index("-m")]
    subprocess.run([*options, "-m", "random"], cwd=tmp_path, check=True)


@_ON_SQLITE
def test_a_database_that_is_away_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    with monkeypatch.context() as patch:
        patch.setattr(Supervisor, "look", away)
        lab.server.look_patiently()
        lab.server.look_patiently()
    assert lab.server.standing() == "the database does not answer"
    lab.server.look_patiently()
    assert lab.server.standing() == "ok"
    assert len(lab.said) == 2
