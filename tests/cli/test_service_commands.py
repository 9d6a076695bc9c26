"""The commands of the service on the database itself."""

import io
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import text

from cifar_tune.cli import submitting
from cifar_tune.cli.queue_lines import date_and_time
from cifar_tune.cli.submitting import LineInPlace, Lines
from cifar_tune.service import submissions
from cifar_tune.service.people import Actor, pass_of
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.tables import SERVER_LEASE, VERSION
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import PATIENCE, wait_until

from .conftest import Cli

STUDY = """\
name: mine
budget: {trials: 3}
data: {name: digits}
train: {model: cnn3, width: 8, epochs: 2}
search_space: {}
"""
NOTE = "note: no server runs on this database, so nothing begins; start one with: cifar-tune serve\n"


@pytest.fixture
def study(tmp_path: Path) -> str:
    (tmp_path / "mine.yaml").write_text(STUDY)
    return "mine.yaml"


@contextmanager
def open_desk() -> Iterator[StorageDesk]:
    """The desk of somebody else on the same database."""
    url = storage_url(None)
    storage = open_storage(url)
    upgrade(storage.engine)
    yield StorageDesk(storage.engine, url, Actor("somebody", "admin"))
    close(storage)


def test_without_a_database_nothing_is_queued_and_none_is_made(cli: Cli, tmp_path: Path) -> None:
    said = "nothing is queued; submit a study with: cifar-tune submit STUDY\n"
    assert (cli("queue").code, cli("queue").out, cli("queue", "--json").out) == (0, said, "[]\n")
    nothing = {
        "token list": "there are no tokens; make one with: cifar-tune token create OWNER",
        "events": "nothing has happened",
        "owner": "nothing is said of anybody: all have weight 1 and no limits",
    }
    for command, words in nothing.items():
        assert (cli(*command.split()).code, cli(*command.split()).out) == (0, f"{words}\n")
        assert cli(*command.split(), "--json").out == "[]\n"
    assert "N = 3: there is no database yet, so there are no tokens" in cli("token", "revoke", "3").err
    for command in ("pause x", "cancel x", "priority x 1", "db check", "db upgrade"):
        ended = cli(*command.split())
        assert ended.code == 2, command
        assert "no studies: there is no such file yet" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_submitted_changed_and_cancelled(cli: Cli, study: str, tmp_path: Path) -> None:
    ended = cli("submit", study, "--priority", "3", "--notify", "https://example.org/x")
    assert (ended.code, ended.out) == (0, "queued mine (submission 1)\n")
    assert ended.err == f"note: nothing is searched: all trials are the same\n{NOTE}"
    [found] = json.loads(cli("queue", "--json").out)
    assert (found["study"], found["state"], found["priority"], found["workers"]) == ("mine", "queued", 3, None)
    assert (found["file"], found["folder"]) == ("mine.yaml", str(tmp_path))
    assert found["notify"] == ["https://example.org/x"]
    lines = cli("queue").out.splitlines()
    assert lines[0] == "1 submission: 1 queued"
    assert lines[1].split() == ["study", "owner", "state", "trials", "best", "priority", "workers", "since"]
    assert lines[2].split()[0] == "mine"
    assert cli("pause", "mine").out == "mine: paused, priority 3, as many trials at a time as fit\n"
    assert cli("workers", "mine", "2").out == "mine: paused, priority 3, 2 trials at a time at most\n"
    assert cli("priority", "mine", "-1").out == "mine: paused, priority -1, 2 trials at a time at most\n"
    assert cli("resume", "mine").out.startswith("mine: queued, ")
    assert cli("workers", "mine", "all").out.startswith("mine: queued, priority -1, as many")
    assert cli("workers", "mine", "1").out == "mine: queued, priority -1, 1 trial at a time at most\n"
    assert cli("cancel", "mine").out == "mine: cancelled\n"
    assert cli("queue").out.startswith("nothing is queued")
    assert cli("queue", "--all").out.startswith("1 submission: 1 cancelled\n")
    again = cli("submit", "mine", "--set", "budget.trials=9", "--json")
    assert json.loads(again.out)["trials"] == 9
    said = [line.split()[4:] for line in cli("events").out.splitlines()]
    assert said[:3] == [["submit", "mine", "done"], ["pause", "mine", "done"], ["workers", "mine", "done"]]
    events = json.loads(cli("events", "--after", "3", "--limit", "1", "--json").out)
    assert [(each["id"], each["action"], each["target"]) for each in events] == [(4, "priority", "mine")]


def test_what_cannot_be_done_is_said(cli: Cli, study: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("name: x\ntrain: {optimzer: sgd, epochs: 0}\n")
    for command, code, words in (
        ("submit absent.yaml", 2, "absent.yaml: there is no such study file"),
        ("submit wrong.yaml", 2, "wrong.yaml:2: train.optimzer: unknown key (did you mean 'optimizer'?)"),
        ("submit wrong.yaml", 2, "wrong.yaml:2: train.epochs = 0: must be a whole number"),
        ("submit mine.yaml --set nonsense", 2, "--set = 'nonsense': must be key=value"),
        ("submit unknown", 2, "nobody has submitted a study 'unknown'"),
        ("submit mine.yaml", 0, ""),
        ("submit mine.yaml", 2, "your study 'mine' is queued already"),
        ("cancel mime", 2, "nobody has submitted a study 'mime' (did you mean 'mine'?)"),
        ("priority mine 5000", 2, "priority = 5000: must be between -1000 and 1000"),
        ("workers mine some", 2, "N = 'some': must be a number of trials, or all"),
        ("cancel mine", 0, ""),
        ("cancel mine", 1, "the study 'mine' has ended (cancelled); submit it again to go on with it"),
        ("token revoke 1", 2, "token = 1: there is no such token; see: cifar-tune token list"),
        ("token create anna --role owner", 2, "--role = 'owner': must be viewer, editor or admin"),
        ("owner --slots 2", 2, "NAME: say whose limits to change, or * for everybody else"),
        ("owner anna --weight 0", 2, "weight = 0.0: must be between 0.001 and 1000"),
        ("queue --storage sqlite:///x.db --server http://x", 2, "name a server or a database, not both"),
    ):
        ended = cli(*command.split())
        assert ended.code == code, command
        assert words in ended.err, command
        assert "Traceback" not in ended.err


def test_a_name_that_somebody_else_has_is_refused(cli: Cli, study: str) -> None:
    with open_desk() as somebody:
        somebody.submit(STUDY)
    ended = cli("submit", study)
    assert ended.code == 2
    assert "the name 'mine' is taken: that study belongs to somebody; give yours another name" in ended.err
    assert cli("cancel", "mine").code == 0, "whoever has the database is an administrator"


@pytest.mark.parametrize(
    ("exit_code", "state"), [(0, "done"), (1, "failed"), (2, "failed")], ids=["done", "without-a-trial", "refused"]
)
def test_waiting_ends_with_the_exit_code_of_the_study(cli: Cli, study: str, exit_code: int, state: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        playing = threads.submit(play_server, exit_code)
        ended = cli("submit", study, "--wait")
        playing.result()
    assert ended.code == exit_code
    assert ended.out == f"queued mine (submission 1)\nmine has ended: {state} (so it was)\n"


def test_whoever_waits_sees_what_happens(cli: Cli, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec({}, name="mine")

    def wait() -> None:
        with open_desk() as desk, desk.engine.begin() as connection:
            submissions.tell(connection, 1, "all 8 slots are taken", 2)

    def begin() -> None:
        with open_desk() as desk:
            with desk.engine.begin() as connection:
                submissions.begin(connection, 1)
            storage = open_storage(storage_url(None))
            make_record(spec, [MadeTrial(value=0.5), MadeTrial(value=0.75)], storage)
            close(storage)

    def end() -> None:
        with open_desk() as desk, desk.engine.begin() as connection:
            submissions.end(connection, 1, 0, "so it was")

    steps = iter((wait, begin, end))
    monkeypatch.setattr(submitting, "time", SimpleNamespace(sleep=lambda _: next(steps)()))
    monkeypatch.setattr(submitting, "LINE_SECONDS", 0.0)
    ended = cli("submit", study, "--wait")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "mine has ended: done (so it was)")
    assert ended.err.splitlines()[-3:] == [
        "mine: queued",
        "mine: queued at position 2: all 8 slots are taken",
        "mine: running, 2 of 3 trials, best val_accuracy 0.7500 (trial 1)",
    ]


def test_lines_come_at_once_for_news_and_now_and_then_for_the_rest() -> None:
    now, said = [0.0], list[str]()
    lines = Lines(said.append, lambda: now[0])
    for seconds, step, words in (
        (0, "queued", "at 9"), (1, "queued", "at 8"), (31, "queued", "at 7"), (32, "running", "0 of 9"),
        (33, "running", "1 of 9"), (50, "away", "away"), (51, "running", "2 of 9"), (90, "running", "2 of 9"),
    ):  # fmt: skip
        now[0] = seconds
        lines.tell(step, words)
    assert said == ["at 9", "at 7", "0 of 9", "away", "2 of 9"]


def test_a_line_in_a_terminal_stands_in_one_place() -> None:
    file = io.StringIO()
    with LineInPlace(Console(file=file, force_terminal=True, width=60)) as line:
        line.tell("queued", "mine: queued at position 9\x1b[2J")
        line.tell("running", "mine: running, 2 of 3 trials")
        wait_until(lambda: "running, 2 of 3" in file.getvalue())
        assert "\n" not in file.getvalue()
    assert "\x1b[2J" not in file.getvalue(), "nobody else may move the cursor"
    assert file.getvalue().endswith("\x1b[2K"), "the line is taken away at the end"


def play_server(exit_code: int) -> None:
    """What a server does with the first submission."""
    with open_desk() as somebody:
        wait_until(lambda: bool(somebody.queue()))
        with somebody.engine.begin() as connection:
            submissions.begin(connection, 1)
        with somebody.engine.begin() as connection:
            submissions.end(connection, 1, exit_code, "so it was")


def test_an_interruption_ends_the_waiting_alone(cli: Cli, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = SimpleNamespace(sleep=lambda _: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr(submitting, "time", pause)  # nobody else who sleeps interrupts this process
    ended = cli("submit", study, "--wait")
    assert ended.code == 130
    assert ended.err.endswith("cifar-tune: interrupted; what was queued goes on (see: cifar-tune queue)\n")
    assert cli("queue").out.startswith("1 submission: 1 queued\n")


def test_a_deleted_or_cancelled_study_is_not_waited_for(cli: Cli, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel(_: float) -> None:
        with open_desk() as somebody:
            somebody.cancel("mine")

    monkeypatch.setattr(submitting, "time", SimpleNamespace(sleep=cancel))
    ended = cli("submit", study, "--wait", "--json")
    assert ended.code == 1
    assert "mine: queued" in ended.err.splitlines()
    assert json.loads(ended.out)["state"] == "cancelled"


def test_where_a_server_runs_nothing_is_noted(cli: Cli, study: str) -> None:
    with open_desk() as somebody:
        lease = acquire(somebody.engine, SERVER_LEASE)
        assert NOTE not in cli("submit", study).err
        assert cli("queue").err == ""
        lease.release()
        assert cli("queue").err == NOTE


def test_a_token_is_printed_once(cli: Cli) -> None:
    ended = cli("token", "create", "anna", "--role", "viewer", "--label", "laptop", "--days", "2")
    secret = ended.out.strip()
    assert ended.err == "token 1 for anna (viewer); it is not shown again:\n"
    with open_desk() as somebody:
        found = pass_of(somebody.engine, secret)
        assert found is not None
        assert found.actor == Actor("anna", "viewer", 1)
        assert found.until == pytest.approx(time.time() + 2 * 24 * 3600, abs=PATIENCE)
    made = json.loads(cli("token", "create", "bert", "--json").out)
    assert (made["owner"], made["role"], made["secret"][:3]) == ("bert", "editor", "ct_")
    listed = cli("token", "list")
    assert secret not in listed.out
    assert [line.split()[:4] for line in listed.out.splitlines()[1:]] == [
        ["1", "anna", "viewer", "laptop"],
        ["2", "bert", "editor", made_at(made)],
    ]
    assert [set(each) == set(made) - {"secret"} for each in json.loads(cli("token", "list", "--json").out)] == [
        True
    ] * 2
    assert cli("token", "revoke", "1").out == "revoked token 1 of anna\n"
    assert cli("token", "list").out.splitlines()[1].endswith("revoked")
    with open_desk() as somebody:
        assert pass_of(somebody.engine, secret) is None
    assert secret not in cli("events", "--json").out


def made_at(token: dict[str, Any]) -> str:
    """The day on which it was made, as a table shows it."""
    return date_and_time(token["created_at"]).split()[0]


def test_owners_are_given_limits(cli: Cli, study: str) -> None:
    cli("token", "create", "anna")
    assert cli("owner").out == "nothing is said of anybody: all have weight 1 and no limits\n"
    assert cli("owner", "*", "--queued", "0").code == 0
    assert cli("owner", "anna", "--weight", "2.5", "--slots", "4", "--trials", "100").out.splitlines() == [
        "owner  weight  slots  queued  trials",
        "anna   2.5     4      (0)     100",  # that of *
    ]
    assert cli("owner", "anna", "--trials", "5000000").out.splitlines()[1].split()[-1] == "5000000"
    assert [each["name"] for each in json.loads(cli("owner", "--json").out)] == ["*", "anna"]
    ended = cli("submit", study)
    assert ended.code == 1
    assert "may have 0 waiting studies at most, and has 0" in ended.err


def test_a_submitted_study_is_deleted_once_it_has_ended(cli: Cli, study: str) -> None:
    cli("submit", study)
    ended = cli("delete", "mine", "--yes")
    assert (ended.code, ended.err) == (
        1,
        "cifar-tune: the study 'mine' is queued; cancel it first: cifar-tune cancel mine\n",
    )
    cli("cancel", "mine")
    assert cli("delete", "mine", "--yes").out == "removed mine (0 trials)\n"
    assert cli("delete", "mine", "--yes").code == 2
    with open_desk() as somebody:
        assert somebody.submit(STUDY).owner == "somebody"


def test_the_database_is_upgraded_checked_and_copied(cli: Cli, tmp_path: Path) -> None:
    close(open_storage(storage_url(None)))  # as `run` makes it
    assert "the service's tables: not made yet; the first command of the service makes them\n" in cli("db", "check").out
    assert cli("db", "upgrade").out == f"the tables of the service have version {VERSION} now; they are new\n"
    assert cli("db", "upgrade").out == f"the tables of the service have version {VERSION} already\n"
    assert f"the service's tables: version {VERSION}, submissions 0, events 0\n" in cli("db", "check").out
    assert cli("db", "backup", "copy.db").out.startswith("wrote copy.db (")
    assert cli("db", "check", "--storage", "sqlite:///copy.db").code == 0
    with open_desk() as somebody, somebody.engine.begin() as connection:
        connection.execute(text("DROP TABLE cifar_tune_usage"))
    ended = cli("db", "check")
    assert (ended.code, ended.err) == (
        1,
        "cifar-tune: the service's tables are not as they should be: table cifar_tune_usage is missing\n",
    )
    with open_desk() as somebody, somebody.engine.begin() as connection:
        connection.execute(text("UPDATE cifar_tune_schema SET version_num = '0999'"))
    for command in ("queue", "submit mine.yaml", "db upgrade", "db check"):
        (tmp_path / "mine.yaml").write_text(STUDY)
        ended = cli(*command.split())
        assert ended.code == 1, command
        assert "a newer cifar-tune has upgraded them" in ended.err
