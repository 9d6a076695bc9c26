"""People are told by real requests: signed, again where nobody answers, and never twice for nothing."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_string
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, TCPServer
from threading import Event, Thread

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import submissions
from cifar_tune.service.addresses import EVENT, SIGNATURE, TIMESTAMP, signature
from cifar_tune.service.ends import note_end
from cifar_tune.service.telling import BEST_SECONDS, LONG_SECONDS, PAUSES, Teller, telling
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import PATIENCE

from .conftest import STUDY, DeskOf

SECRET = "between us"  # noqa: S105


@dataclass
class Listener:
    """A server that keeps what it gets, and answers with these statuses, then with 204."""

    address: str
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr("cifar_tune.service.addresses._SECONDS", PATIENCE)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers), body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("Location", f"{found.address}/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Listener(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def run_to_its_end(engine: Engine, number: int, exit_code: int) -> None:
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.end(connection, number, exit_code, "so it was")
        note_end(connection, number, "so it was")


@pytest.mark.parametrize(("exit_code", "state"), [(0, "done"), (1, "failed")])
def test_an_end_is_told_once_and_signed(
    desk_of: DeskOf, storage: BatchStorage, listener: Listener, exit_code: int, state: str
) -> None:
    teller, now = Teller(storage, SECRET), 1_800_000_000.5
    teller.look(now)
    number = desk_of("anna").submit(STUDY, notify=[f"{listener.address}/hook?key=hidden"]).id
    run_to_its_end(storage.engine, number, exit_code)
    event = desk_of("anna").events()[-1].id
    desk_of("anna").submit(STUDY)  # again, before anybody was told
    teller.look(now)
    teller.look(now + 1)
    Teller(storage, SECRET).look(now + 2)
    [(headers, body)] = listener.got
    assert headers[TIMESTAMP] == "1800000000"
    assert headers[SIGNATURE] == signature(SECRET, "1800000000", body)
    assert headers[EVENT] == str(event)
    told = json.loads(body)
    assert (told["what"], told["study"], told["owner"], told["submission"]) == (state, "mine", "anna", number)
    assert told["text"] == f"The study mine has ended: {state} (so it was)."


def test_the_signature_is_the_one_that_openssl_makes() -> None:
    """Of `printf '1.{}' | openssl dgst -sha256 -hmac key`."""
    assert signature("key", "1", b"{}") == "sha256=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"


def test_who_does_not_answer_is_tried_again_also_by_the_next_server(
    desk_of: DeskOf, storage: BatchStorage, listener: Listener
) -> None:
    listener.statuses = [500, 302]
    teller, now = Teller(storage, ""), time.time()
    teller.look(now)
    run_to_its_end(storage.engine, desk_of("anna").submit(STUDY, notify=[listener.address]).id, 0)
    teller.look(now)
    teller.look(now + PAUSES[0] - 1)
    assert len(listener.got) == 1
    teller.look(now + PAUSES[0])
    assert len(listener.got) == 2, "a redirection is not followed"
    Teller(storage, "").look(now + PAUSES[0])  # the server was stopped, and another one begins
    assert len(listener.got) == 3
    assert len({headers[EVENT] for headers, _ in listener.got}) == 1
    assert SIGNATURE not in listener.got[0][0]
    Teller(storage, "").look(now + 1e6)
    assert len(listener.got) == 3


def test_who_never_answers_is_given_up_and_holds_up_nobody(
    desk_of: DeskOf, storage: BatchStorage, listener: Listener
) -> None:
    teller, now = Teller(storage, ""), time.time()
    teller.look(now)
    gone = "http://127.0.0.1:9/secret-path"
    run_to_its_end(storage.engine, desk_of("anna").submit(STUDY, notify=[gone, listener.address]).id, 0)
    teller.look(now)
    assert len(listener.got) == 1
    for pause in PAUSES:
        now += pause
        teller.look(now)
    event = desk_of("anna").events()[-1]
    assert (event.action, event.target, event.outcome) == ("notify", "mine", "failed")
    assert event.detail["address"] == "http://127.0.0.1"
    assert "secret-path" not in str(desk_of("anna").events())
    teller.look(now + 1e6)
    assert desk_of("anna").events()[-1] == event
    assert len(listener.got) == 1


def test_a_database_that_fails_in_between_lets_nobody_be_told_twice_or_never(
    desk_of: DeskOf, storage: BatchStorage, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_in_vain(teller: Teller) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(submissions, "select_submissions", _fail)
            with pytest.raises(OperationalError):
                teller.look(1_800_000_000.0)

    first, second = Teller(storage, SECRET), Teller(storage, SECRET)
    look_in_vain(first)
    first.look(1_800_000_000.0)
    for count, teller in enumerate((second, second), 1):
        number = desk_of("anna").submit(STUDY, notify=[f"{listener.address}/hook"]).id
        run_to_its_end(storage.engine, number, 0)
        look_in_vain(teller)
        teller.look(1_800_000_000.0)
        assert len(listener.got) == count


def _fail(*_: object) -> None:
    raise OperationalError("SELECT", {}, Exception("the server is away"))


def test_nothing_ends_the_thread_that_tells(storage: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, said, is_over = list[float](), list[str](), Event()
    errors = [StorageInternalError("away"), RuntimeError("odd"), RuntimeError("odd")]

    def look(_: Teller, now: float) -> None:
        looks.append(now)
        if len(looks) <= len(errors):
            raise errors[len(looks) - 1]
        is_over.set()

    monkeypatch.setattr(Teller, "look", look)
    monkeypatch.setattr("cifar_tune.service.telling._LOOK_SECONDS", 0.01)
    with telling(storage, "", said.append):
        assert is_over.wait(PATIENCE)
    assert said == ["people could not be told about their studies (RuntimeError); this is tried again"]


def test_who_waits_for_long_is_told_once(desk_of: DeskOf, storage: BatchStorage, listener: Listener) -> None:
    made = desk_of("anna").submit(STUDY, notify=[listener.address])
    teller = Teller(storage, "")
    for later in (0.0, LONG_SECONDS - 1, LONG_SECONDS + 1, LONG_SECONDS + 2):
        teller.look(made.waiting_since + later)
    [(_, body)] = listener.got
    assert json.loads(body)["text"] == "The study mine has been waiting for 60 min."


def test_a_new_best_is_told_now_and_then(desk_of: DeskOf, storage: BatchStorage, listener: Listener) -> None:
    number = desk_of("anna").submit(STUDY, notify=[listener.address]).id
    with storage.engine.begin() as connection:
        submissions.begin(connection, number)
    teller, now = Teller(storage, ""), 1_800_000_000.0
    teller.look(now)  # it has not begun
    spec = make_spec({"lr": {"low": 0.1, "high": 1}}, name="mine")
    trials = [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.25), MadeTrial({"lr": 0.3}, 0.75)]
    for count in (1, 2, 3):
        if count > 1:
            storage.delete_study(storage.get_study_id_from_name("mine"))
        make_record(spec, trials[:count], storage)
        for later in (0.0, 1.0, BEST_SECONDS - 1):
            teller.look(now + count * BEST_SECONDS + later)
    [(headers, body)] = listener.got
    assert headers[EVENT] == f"best-{number}-2"
    assert json.loads(body)["text"] == "The study mine has a new best: val_accuracy 0.7500 in trial 2."


def test_apprise_delivers_what_is_no_webhook(desk_of: DeskOf, storage: BatchStorage, listener: Listener) -> None:
    pytest.importorskip("apprise")
    teller, now = Teller(storage, ""), time.time()
    teller.look(now)
    address = listener.address.replace("http://", "json://")
    run_to_its_end(storage.engine, desk_of("anna").submit(STUDY, notify=[address]).id, 0)
    teller.look(now)
    [(_, body)] = listener.got
    assert json.loads(body)["message"] == "The study mine has ended: done (so it was)."


class Mailbox(StreamRequestHandler):
    """As much of an SMTP server (RFC 5321) as takes a mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            match line[:4].upper():
                case b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mail = iter(self.rfile.readline, b".\r\n")
                    self.server.mails.append(b"".join(mail).decode())  # type: ignore[attr-defined]
                case b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
            self.wfile.write(b"250 ok\r\n")


def test_a_mail_is_sent(desk_of: DeskOf, storage: BatchStorage) -> None:
    pytest.importorskip("apprise")
    teller, now = Teller(storage, ""), time.time()
    teller.look(now)
    with TCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.mails = []  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        host, port = server.server_address[:2]
        address = f"mailto://{host!s}:{port}?from=lab@example.org&to=anna@example.org&mode=insecure"
        run_to_its_end(storage.engine, desk_of("anna").submit(STUDY, notify=[address]).id, 1)
        teller.look(now)
        server.shutdown()
        thread.join()
        [mail] = server.mails  # type: ignore[attr-defined]
    assert "Subject: mine: failed" in mail
    assert "To: anna@example.org" in mail
    assert "The study mine has ended: failed (so it was)." in message_from_string(mail).as_string()


def test_what_is_no_address_is_refused_without_repeating_it(desk_of: DeskOf) -> None:
    for address in ("hook", "https://", "https:///x", "http://h:port/", "https://h/a b", "nonsense://secret", "file:x"):
        with pytest.raises(UserError, match="notify: address 1 ") as raised:
            desk_of("anna").submit(STUDY, notify=[address])
        assert "secret" not in str(raised.value)
