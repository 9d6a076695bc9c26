"""The desk over HTTP answers and refuses as the one on the database does."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy.engine import URL

from cifar_tune.cli.served_studies import served_comparison, served_status
from cifar_tune.client import HttpDesk
from cifar_tune.client.token_file import own_token
from cifar_tune.errors import CheckError, CifarTuneError, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.desk import Desk, Stopped
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import AwayError, UnknownStudyError
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.uses import Uses
from tests.processes import call_cifar_tune
from tests.web.conftest import ROLES, ClientOf, Template, study_text
from tests.web.serving import serving

Desks = Callable[[str], tuple[Desk, HttpDesk]]


@pytest.fixture
def desks(storage: BatchStorage, url: URL, template: Template, client_of: ClientOf) -> Desks:
    """The desk of somebody on the database, and over HTTP."""

    def both(role: str) -> tuple[Desk, HttpDesk]:
        name, right = ROLES[role]
        there = HttpDesk("http://127.0.0.1", template.tokens[role], client_of(None)._transport)
        return StorageDesk(storage.engine, url, Actor(name, right)), there

    return both


def test_a_submission_is_the_same_by_both_ways(desks: Desks) -> None:
    here, there = desks("editor")
    made = there.submit(study_text("by-client"), "mine.yaml", ["epochs=3"], 5, 2, ["https://example.org/x"])
    assert made == here.submission("by-client") == there.submission("by-client")
    assert there.set_priority("by-client", 7) == here.submission("by-client")
    assert there.set_workers("by-client", None).workers is None
    assert there.stop("by-client") == Stopped("by-client", (), is_paused=True)
    assert there.pause("by-client").state == "paused"
    assert there.resume("by-client").state == "queued"
    without_texts = [replace(each, text="") for each in here.queue()]
    assert there.queue() == without_texts
    assert there.submissions(["paused"], "anna") == [
        replace(each, text="") for each in here.submissions(["paused"], "anna")
    ]
    assert there.submissions(limit=2) == [replace(each, text="") for each in here.submissions(limit=2)]
    assert there.cancel("by-client").state == "cancelled"
    assert there.delete("by-client").study == "by-client"
    assert there.events(0) == here.events(0)
    assert there.events(None, 3) == here.events(None, 3)
    assert there.events(2, 4) == here.events(2, 4)


def test_tokens_and_owners(desks: Desks, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = desks("admin")
    app.state.here.door.uses.write()
    monkeypatch.setattr(Uses, "note", lambda *_: None)  # else the last uses may be written between two questions
    made, secret = there.create_token("ida", "viewer", "laptop", 4e9)
    assert secret.startswith("ct_")
    assert made in here.tokens()
    assert there.tokens() == here.tokens()
    assert there.revoke_token(made.id) == next(each for each in here.tokens() if each.id == made.id)
    assert there.set_owner(Owner("*", slots=3)).slots == 3
    assert there.owners() == here.owners()


REFUSED: dict[str, tuple[str, Callable[[Desk], object]]] = {
    "a study that is none": ("editor", lambda desk: desk.submit("name: x\ntrain: {optimzer: sgd}\n", "s.yaml")),
    "a setting that is none": ("editor", lambda desk: desk.submit(study_text("x"), settings=["epochs"])),
    "a name of others": ("other editor", lambda desk: desk.submit(study_text("queued"))),
    "no right": ("viewer", lambda desk: desk.submit(study_text("x"))),
    "a study of others": ("other editor", lambda desk: desk.cancel("paused")),
    "an unknown study": ("editor", lambda desk: desk.pause("pausd")),
    "a study that run has made": ("editor", lambda desk: desk.cancel("made")),
    "nothing that runs": ("admin", lambda desk: desk.stop("made")),
    "a study that waits": ("editor", lambda desk: desk.delete("paused")),
    "no token": ("admin", lambda desk: desk.revoke_token(999)),
    "a priority that is too high": ("editor", lambda desk: desk.set_priority("queued", 5000)),
    "no workers": ("editor", lambda desk: desk.set_workers("queued", 0)),
    "too much at once": ("editor", lambda desk: desk.submit(study_text("x"), "s.yaml", (), -2000, 0, ["ftp://x"])),
    "too many addresses": ("editor", lambda desk: desk.submit(study_text("x"), notify=["https://x.org"] * 30)),
    "a long address": ("editor", lambda desk: desk.submit(study_text("x"), notify=["https://x.org/" + "x" * 3000])),
    "limits that are none": ("admin", lambda desk: desk.set_owner(Owner("anna", weight=0.0, slots=-1, queued=2**31))),
    "a person without a name": ("admin", lambda desk: desk.create_token("", "viewer")),
    "a person with a long name": ("admin", lambda desk: desk.set_owner(Owner("x" * 101, slots=1))),
    "a long label": ("admin", lambda desk: desk.create_token("ida", "viewer", "x" * 101)),
    "a token of a high number": ("admin", lambda desk: desk.revoke_token(10**12)),
    "a token of the past": ("admin", lambda desk: desk.create_token("ida", "viewer", expires_at=1.0)),
    "an unknown role": ("admin", lambda desk: desk.create_token("ida", "emperor")),  # type: ignore[arg-type]
    "no role": ("admin", lambda desk: desk.create_token("two\nlines", "viewer")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_are_the_same_by_both_ways(what: str, desks: Desks) -> None:
    role, ask = REFUSED[what]
    raised = []
    for desk in desks(role):
        with pytest.raises(CifarTuneError) as error:
            ask(desk)
        raised.append(error.value)
    here, there = raised
    assert (type(there), str(there), there.exit_code) == (type(here), str(here), here.exit_code)
    if isinstance(here, UserError):
        assert isinstance(there, UserError)
        assert there.problems == here.problems


def test_what_only_a_server_has(desks: Desks) -> None:
    _, desk = desks("viewer")
    assert [each["name"] for each in desk.studies(contains="ma")] == ["made"]
    assert desk.study("made")["status"]["finished"] == 40
    assert [each["number"] for each in desk.trials("made")] == list(range(41))
    assert desk.report_file("made", "best.yaml").decode() == desk.best("made")["yaml"]
    plain = desk.report("made")
    assert "report.html" in plain
    pictures = [name.removesuffix(".png") for name in plain if name.endswith(".png")]
    assert set(desk.report("made", ("pdf", "svg"))) - set(plain) == {
        f"{name}.{kind}" for name in pictures for kind in ("svg", "pdf")
    }
    assert desk.report_file("made", "history.pdf").startswith(b"%PDF-")
    for absent in ("history.gif", "trials.svg", "svg", ".pdf", "history.png.svg"):
        with pytest.raises(UnknownStudyError, match="there is no file"):
            desk.report_file("made", absent)
    with pytest.raises(CifarTuneError, match="must be svg or pdf"):
        desk.report("made", ("gif",))
    with pytest.raises(CifarTuneError, match="cifar-tune finalize made"):
        desk.model("made")


def answering(status: int, content: Any) -> HttpDesk:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, content=content))
    return HttpDesk("http://127.0.0.1", "ct_x", transport)


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"),
    [
        (502, b"<html>Bad Gateway", AwayError, "status 502"),
        (503, b'{"detail": "The database does not answer."}', AwayError, "The database does not answer."),
        (500, b"{}", CheckError, "http://127.0.0.1 answers with status 500 and says no more: is it the address of"),
        (501, b"<html>Not Implemented", CheckError, "is it the address of a `cifar-tune serve`"),
        (302, b"", CheckError, "status 302"),
        (200, b"<html>Log in", CheckError, "something else than JSON"),
        (504, b"", AwayError, "status 504"),
        (401, b'{"detail": "not known"}', UserError, "token: not known"),
        (200, b'{"submissions": [{"id": 1}]}', CheckError, "the server's answer cannot be read"),
    ],
)
def test_answers_of_others(status: int, content: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        answering(status, content).queue()


QUESTIONS: dict[str, Callable[[HttpDesk], object]] = {
    "queue": lambda desk: desk.queue(),
    "submission": lambda desk: desk.submission("x"),
    "studies": lambda desk: list(desk.studies()),
    "study": lambda desk: served_status("x", desk),
    "trials": lambda desk: list(desk.trials("x")),
    "events": lambda desk: desk.events(),
    "tokens": lambda desk: desk.tokens(),
    "token": lambda desk: desk.create_token("ida", "viewer"),
    "owners": lambda desk: desk.owners(),
    "report": lambda desk: desk.report("x"),
    "model": lambda desk: desk.model("x"),
    "comparison": lambda desk: served_comparison("x", "lr", desk, ()),
}


@pytest.mark.parametrize("content", [b"<html>Log in", b"{}", b"[]", b"null", b'{"status": {}}'])
@pytest.mark.parametrize("what", QUESTIONS)
def test_whatever_another_server_answers_is_told_in_a_sentence(what: str, content: bytes) -> None:
    with pytest.raises(CheckError, match=r"something else than|cannot be read \("):
        QUESTIONS[what](answering(200, content))


@pytest.mark.parametrize("name", ["../tokens/3", "a/../../tokens/3", "..", ".", ""])
def test_a_name_leads_to_no_other_part_of_the_server(name: str, desks: Desks) -> None:
    _, desk = desks("admin")
    for ask in (desk.delete, desk.cancel, desk.study, desk.report):
        with pytest.raises(UnknownStudyError):
            ask(name)


@contextmanager
def speaking(answer: bytes) -> Iterator[int]:
    """A port on which somebody says this to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = Thread(target=speak)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_server_without_tls_is_told_from_one_that_is_away() -> None:
    plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    with speaking(plain) as port, pytest.raises(AwayError, match=f"no TLS: is its address http://127.0.0.1:{port}?"):
        HttpDesk(f"https://127.0.0.1:{port}", "ct_x").queue()
    with speaking(b"") as port, pytest.raises(AwayError, match=f"has TLS, its address is https://127.0.0.1:{port}"):
        HttpDesk(f"http://127.0.0.1:{port}", "ct_x").queue()


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(AwayError, match=r"http://127.0.0.1:1 does not answer: "):
        HttpDesk("127.0.0.1:1", "ct_x").queue()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ftp://x",
        "http://",
        "http://x/path",
        "http://u:p@x",
        "http://x:port",
        "http://[x",
        "http://x?y",
        "http://x\0y",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UserError, match="--server"):
        HttpDesk(address, "ct_x")


def test_the_token_is_in_the_environment_or_in_a_file_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CIFAR_TUNE_TOKEN", raising=False)
    monkeypatch.delenv("CIFAR_TUNE_TOKEN_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no token: set CIFAR_TUNE_TOKEN, or write it into .*/cifar-tune/token"):
        own_token()
    file = tmp_path / "cifar-tune" / "token"
    file.parent.mkdir()
    file.write_text("ct_from-file\n")
    file.chmod(0o640)
    with pytest.raises(UserError, match="others can read the token in it; change that: chmod 600"):
        own_token()
    file.chmod(0o600)
    assert own_token() == "ct_from-file"
    monkeypatch.setenv("CIFAR_TUNE_TOKEN_FILE", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="the token cannot be read"):
        own_token()
    monkeypatch.setenv("CIFAR_TUNE_TOKEN", "ct_secret of two words")
    with pytest.raises(UserError) as raised:
        own_token()
    assert "secret" not in str(raised.value)


def test_commands_ask_the_server(app: FastAPI, template: Template, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(study_text("by-command"))
    with serving(app) as address:
        environment = {"CIFAR_TUNE_SERVER": address, "CIFAR_TUNE_TOKEN": template.tokens["editor"], "PATH": "/usr/bin"}

        def run(*arguments: str) -> str:
            code, out, err = call_cifar_tune(arguments, tmp_path, environment)
            assert code == 0, err
            return out

        assert run("submit", "study.yaml", "--priority", "4").startswith("queued by-command (submission ")
        assert run("pause", "by-command").startswith("by-command: paused, priority 4")
        queue = json.loads(run("queue", "--json"))
        assert {each["study"]: each["state"] for each in queue}["by-command"] == "paused"
        assert "submit by-command" in run("events")
        assert run("cancel", "by-command") == "by-command: cancelled\n"
        assert run("delete", "by-command", "--yes") == "removed by-command (0 trials)\n"
        code, _, err = call_cifar_tune(("queue",), tmp_path, {**environment, "CIFAR_TUNE_TOKEN": "ct_wrong"})
        assert (code, err) == (2, "cifar-tune: token: The token is not known here, was revoked, or has expired.\n")
    code, _, err = call_cifar_tune(("queue",), tmp_path, environment)
    assert code == 1
    assert "does not answer" in err
    assert not (tmp_path / "storage").exists()
