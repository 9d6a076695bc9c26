"""Event streams: whoever listens hears everything, also over a reconnect."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from urllib.parse import urlsplit

import httpx2
import pytest
from optuna import delete_study
from sqlalchemy.engine import URL
from starlette.testclient import TestClient
from uvicorn.protocols.http.h11_impl import H11Protocol

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import submissions
from cifar_tune.service.audit import note
from cifar_tune.service.people import Actor
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.routes import watching
from cifar_tune.web.settings import Limits, WebSettings
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import PATIENCE

from .asking import statements
from .conftest import AppOf, Template, study_text
from .serving import serving


@pytest.fixture(scope="module")
def address(app_of: AppOf) -> Iterator[str]:
    """A real server on a port of its own."""
    with serving(app_of()) as address:
        yield address


@contextmanager
def listening(address: str, token: str, path: str, **headers: str) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
    headers = {"Authorization": f"Bearer {token}", **{key.replace("_", "-"): each for key, each in headers.items()}}
    with (
        httpx2.Client(base_url=address, headers=headers, timeout=PATIENCE) as client,
        client.stream("GET", path) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        yield (event for event in httpx2.EventSource(answer) if event.data)


def test_nothing_is_missed_over_a_reconnect(address: str, template: Template, storage: BatchStorage, url: URL) -> None:
    desk = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    desk.submit(study_text("streamed"))
    before = desk.events()
    heard: list[int] = []
    known = ""
    for part in range(3):  # each time something happens while nobody listens, and while somebody does
        desk.set_priority("streamed", 2 * part)
        with listening(
            address, template.tokens["viewer"], "/v1/events/stream?after=0", Last_Event_ID=known or "0"
        ) as events:
            wanted = len(before) + 1 if not part else 1
            heard += [int(event.id) for event in islice(events, wanted)]
            desk.set_priority("streamed", 2 * part + 1)
            event = next(events)
            assert json.loads(event.data)["detail"]["priority"] == 2 * part + 1
            heard.append(int(event.id))
            known = event.id
    assert heard == [event.id for event in desk.events()] == list(range(1, len(heard) + 1))


def test_a_stream_begins_now_unless_one_says_otherwise(
    address: str, template: Template, storage: BatchStorage, url: URL
) -> None:
    desk = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    desk.submit(study_text("later"))
    with listening(address, template.tokens["viewer"], "/v1/events/stream") as events:
        desk.cancel("later")
        assert json.loads(next(events).data)["action"] == "cancel"


def test_a_study_is_watched(address: str, template: Template, storage: BatchStorage) -> None:
    with listening(address, template.tokens["viewer"], "/v1/studies/made/stream") as events:
        first = next(events)
        told = json.loads(first.data)
        assert [(each["number"], each["intermediate"]) for each in told["running"]] == [(40, [[1, 0.2], [2, 0.3]])]
        assert len(told["ended"]) == 10
        study = storage.get_study_id_from_name("made")
        trial = storage.get_trial_id_from_study_id_trial_number(study, 40)
        storage.set_trial_intermediate_value(trial, 3, 0.4)
        second = next(events)
        assert json.loads(second.data)["running"][0]["intermediate"][-1] == [3, 0.4]
        assert second.id != first.id


def test_a_study_that_waits_is_watched_until_it_begins(
    address: str, template: Template, storage: BatchStorage, url: URL
) -> None:
    desk = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    made = desk.submit(study_text("patient"), notify=["https://example.org/secret-hook"])
    with listening(address, template.tokens["viewer"], "/v1/studies/patient/stream") as events:
        first = next(events)
        told = json.loads(first.data)
        assert (first.event, told["state"], told["waits"], told["text"]) == ("waiting", "queued", None, None)
        assert told["notify"] == ["***"], "addresses are nobody else's business"
        with storage.engine.begin() as connection:
            submissions.tell(connection, made.id, "all 8 slots are taken", 3)
        told = json.loads(next(events).data)
        assert (told["position"], told["waits"]) == (3, "all 8 slots are taken")
        make_record(make_spec({}, name="patient"), [MadeTrial(value=0.5)], storage)
        begun = next(events)
        while begun.event == "study" and json.loads(begun.data)["status"]["finished"] < 1:
            begun = next(events)
        assert begun.event == "study"
        delete_study(study_name="patient", storage=storage)
        desk.cancel("patient")
        desk.delete("patient")
        assert [event.event for event in events if event.event == "study"] == []


def test_a_stream_ends_with_its_study(address: str, template: Template, storage: BatchStorage) -> None:
    with listening(
        address, template.tokens["viewer"], "/v1/events/stream?after=100000"
    ) as events:  # of a lost database
        with storage.engine.begin() as connection:
            note(connection, "ada", "told", None, "done")
        assert json.loads(next(events).data)["action"] == "told"
    make_record(make_spec(name="goes"), [], storage)
    with listening(address, template.tokens["viewer"], "/v1/studies/goes/stream") as events:
        next(events)
        delete_study(study_name="goes", storage=storage)
        assert list(events) == []


@contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        yield connection


def test_no_answer_is_held_back_for_more(app_of: AppOf, monkeypatch: pytest.MonkeyPatch) -> None:
    connected_at_once: list[int] = []
    made = H11Protocol.connection_made

    def noted(self: H11Protocol, transport: asyncio.Transport) -> None:
        of_it = transport.get_extra_info("socket")
        connected_at_once.append(of_it.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(H11Protocol, "connection_made", noted)
    with serving(app_of()) as address:
        assert httpx2.get(f"{address}healthz", timeout=PATIENCE).status_code == 200
    assert len(connected_at_once) == 1
    assert connected_at_once[0], "the second part of an answer would wait for the client's word on the first"


WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def test_slow_clients_cost_themselves_alone(app_of: AppOf) -> None:
    limits = Limits(body_seconds=0.3, idle_seconds=0.3)
    unread = b"POST /v1/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
    with serving(app_of(limits=limits), WebSettings(port=0, limits=limits)) as address:
        for sent in (b"", b"GET /heal", WHOLE, WHOLE + b"GET /heal", unread + b"x"):
            # a connection that the server has given up before all was sent is reset
            with connected(address) as connection, suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(sent)
                while connection.recv(4096):  # until the server gives up
                    pass


def test_many_connections_of_one_address_cost_that_address_alone(app_of: AppOf) -> None:
    limits = Limits(idle_seconds=PATIENCE, connections_each=2)
    with (
        serving(app_of(limits=limits), WebSettings(port=0, limits=limits)) as address,
        connected(address) as first,
        connected(address) as second,
    ):
        for connection in (first, second):
            connection.sendall(WHOLE)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        with connected(address) as third, suppress(ConnectionResetError, BrokenPipeError):
            third.sendall(WHOLE)
            assert third.recv(4096) == b""


@pytest.mark.parametrize("path", ["/v1/events/stream", "/v1/studies/front/stream"])
def test_a_quiet_stream_gives_signs_of_life_until_the_token_is_revoked(
    path: str, address: str, storage: BatchStorage, url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_CHECK_SECONDS", 0.05)
    desk = StorageDesk(storage.engine, url, Actor("root", "admin"))
    token, secret = desk.create_token("nele", "viewer")
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx2.stream("GET", f"{address[:-1]}{path}", headers=headers, timeout=PATIENCE) as answer:
        lines = answer.iter_lines()
        assert any(line == ": ping" for line in lines)
        desk.revoke_token(token.id)
        for _ in lines:  # until the server ends it
            pass


def test_those_who_open_streams_at_once_are_looked_up_once(
    address: str, storage: BatchStorage, url: URL, template: Template
) -> None:
    viewer = template.tokens["viewer"]
    with listening(address, viewer, "/v1/studies/front/stream") as first:
        next(first)
        with statements(storage, lambda _: True) as asked, ExitStack() as streams:
            for _ in range(5):
                opened = streams.enter_context(listening(address, viewer, "/v1/studies/front/stream"))
                next(opened)
                streams.enter_context(listening(address, viewer, "/v1/events/stream"))
    assert not [each for each in asked if "cifar_tune_tokens.sha256 =" in each]
    looks = sum("GROUP BY trials.study_id" in each for each in asked)
    assert looks < 5, "each stream looked at the study by itself"


def test_an_unknown_study_is_no_stream(address: str, template: Template) -> None:
    headers = {"Authorization": f"Bearer {template.tokens['viewer']}"}
    answer = httpx2.get(f"{address}v1/studies/none/stream", headers=headers, timeout=PATIENCE)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_one_client_does_not_use_up_the_places_of_others(app_of: AppOf, template: Template) -> None:
    with (
        serving(app_of(limits=Limits(listeners=2, listeners_each=1))) as address,
        listening(address, template.tokens["viewer"], "/v1/events/stream"),
    ):

        def status(role: str) -> int:
            headers = {"Authorization": f"Bearer {template.tokens[role]}"}
            with httpx2.stream("GET", f"{address}v1/events/stream", headers=headers, timeout=PATIENCE) as answer:
                return answer.status_code

        assert status("viewer") == 429
        with listening(address, template.tokens["editor"], "/v1/events/stream"):
            assert status("admin") == 503


def test_events_page_by_page(viewer: TestClient, storage: BatchStorage, url: URL) -> None:
    events = StorageDesk(storage.engine, url, Actor("vera", "viewer")).events()
    first = viewer.get("/v1/events?after=0&limit=2").json()
    rest = viewer.get(f"/v1/events?after={first['last']}").json()
    assert [each["id"] for each in first["events"] + rest["events"]] == [event.id for event in events]
    assert viewer.get(f"/v1/events?after={rest['last']}").json() == {"events": [], "last": rest["last"]}
