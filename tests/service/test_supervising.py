"""One server runs what is submitted by the plan, and goes on where something is in its way."""

import errno
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.exc import OperationalError

from cifar_tune.errors import CheckError
from cifar_tune.service import asking, audit, submissions
from cifar_tune.service.one_server import server_lease, tell_address
from cifar_tune.service.runs import Processes, coordinating
from cifar_tune.service.supervising import Supervisor
from cifar_tune.service.tables import SUBMISSIONS
from cifar_tune.service.usage import busy_slots
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.wishes import ask_to_park

from .lab import ON_SQLITE, Lab, files_of_runs


@ON_SQLITE
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


@ON_SQLITE
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


@ON_SQLITE
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


@ON_SQLITE
def test_a_study_that_somebody_else_runs_is_not_begun(lab: Lab) -> None:
    theirs = acquire(lab.engine, "study")
    lab.submit("study")
    lab.until(lambda: lab.desk.submission("study").waits is not None)
    assert "runs it already; it starts here when that has ended" in str(lab.desk.submission("study").waits)
    theirs.release()
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@ON_SQLITE
def test_a_server_that_stops_parks_everything(lab: Lab) -> None:
    lab.submit("a", workers=1)
    lab.submit("b", workers=1)
    lab.until(lambda: lab.held("a") == lab.held("b") == "cpu")
    lab.server.end()
    assert [lab.state("a"), lab.state("b")] == ["queued", "queued"]
    assert files_of_runs(lab) == []


@ON_SQLITE
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


@ON_SQLITE
def test_a_folder_that_is_gone_ends_a_submission(lab: Lab, tmp_path: Path) -> None:
    text = "name: study\ndata: {name: digits}\n"
    lab.desk.submit(text, "study.yaml", folder=str(tmp_path / "gone"))
    lab.until(lambda: lab.state("study") == "failed")
    assert "No such file or directory" in str(lab.desk.submission("study").message)


@ON_SQLITE
def test_batches_of_one_trial_leave_slots_to_others(lab: Lab) -> None:
    lab.submit("batches", more="deterministic: 1\n")
    lab.submit("other")
    lab.until(lambda: lab.held("batches") == lab.held("other") == "cpu")


@ON_SQLITE
def test_a_study_of_which_nothing_can_be_read_ends_no_server(lab: Lab) -> None:
    lab.submit("study")
    with lab.engine.begin() as connection:
        connection.execute(update(SUBMISSIONS).values(text="name: [study"))
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@ON_SQLITE
def test_what_cannot_go_on_for_now_is_begun_again_later(lab: Lab) -> None:
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")
    lab.order("study", f"end {submissions.LATER}")
    lab.until(lambda: "it is tried again in a minute" in str(lab.desk.submission("study").waits))
    assert (lab.state("study"), len(lab.starts("study"))) == ("queued", 1)


@ON_SQLITE
def test_the_folder_of_the_service_is_made_again(lab: Lab) -> None:
    shutil.rmtree(lab.folder / "storage" / "service")
    lab.submit("study")
    lab.until(lambda: lab.held("study") == "cpu,cpu")


@ON_SQLITE
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


def test_files_in_the_folder_of_a_study_are_no_modules_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError")
    options = coordinating(1, ["cpu"])[: coordinating(1, ["cpu"]).index("-m")]
    subprocess.run([*options, "-m", "random"], cwd=tmp_path, check=True)


@ON_SQLITE
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
