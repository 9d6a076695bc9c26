"""Answers that many get: nobody gets what is another's, changes are seen, and one answer is made for all."""

import asyncio
import itertools
import re
import shutil
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import update
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.newest_event import NewestEvent
from cifar_tune.service.people import Actor, create_token
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.tables import SUBMISSIONS
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.web.app import create_app
from cifar_tune.web.here import Here
from cifar_tune.web.settings import WebSettings
from cifar_tune.web.shared_answers import ANYBODY, Answer, SharedAnswers, what_is_own
from tests.exhaustive import few_of
from tests.waiting import PATIENCE

from .asking import statements
from .conftest import ROLES, AppOf, ClientOf, Clock, Template, study_text

KNOWN = ("viewer", "editor", "other editor", "admin")
PATHS = (
    "/", "/studies/queued", "/slots", "/events", "/v1/studies", "/v1/studies/queued", "/v1/slots", "/v1/queue",
    "/api/studies",
)  # fmt: skip


@pytest.mark.parametrize("path", few_of(PATHS, ["/", "/v1/studies", "/api/studies"]))
def test_nobody_gets_what_was_made_for_somebody_else(path: str, app: FastAPI, client_of: ClientOf) -> None:
    here: Here = app.state.here

    def asked(role: str) -> str:
        answer = client_of(role).get(path)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        return re.sub("<svg.*?</svg>", "", answer.text, flags=re.DOTALL)  # its time goes on

    alone = {}
    for role in KNOWN:
        here.answers = SharedAnswers(here.engine, here.door, Clock())
        alone[role] = asked(role)
        assert ANYBODY not in alone[role]
        is_page = not path.startswith(("/v1/", "/api/"))
        assert (f"<span>{ROLES[role][0]}, {ROLES[role][1]}</span>" in alone[role]) == is_page
    for first in itertools.permutations(KNOWN, 2):
        here.answers = SharedAnswers(here.engine, here.door, Clock())
        for role in (*first, *KNOWN):
            assert asked(role) == alone[role], (first, role)


def test_what_only_its_owner_and_an_admin_may_see(client_of: ClientOf, clock: Clock) -> None:
    def address(role: str, path: str) -> list[str]:
        told = client_of(role).get(path).json()
        found = told["submission"] if "submission" in told else told["submissions"][0]
        assert found["study"] == "queued"
        return list(found["notify"])

    for roles in itertools.permutations(KNOWN):
        for path in ("/v1/studies/queued", "/v1/queue"):
            shown = {role: address(role, path) for role in roles}
            secret = ["https://example.org/secret-hook"]
            assert shown == {"viewer": ["***"], "editor": secret, "other editor": ["***"], "admin": secret}


def test_a_name_is_shown_as_text(storage: BatchStorage, client_of: ClientOf, clock: Clock) -> None:
    with storage.engine.begin() as connection:
        secret = create_token(connection, "root", "<b>&\\1", "viewer")[1]
    client_of("viewer").get("/slots")
    client = client_of(None)
    found = client.get("/slots", headers={"Authorization": f"Bearer {secret}"})
    assert "<span>&lt;b&gt;&amp;\\1, viewer</span>" in found.text


def test_a_change_is_seen_at_once_and_what_no_event_tells_after_seconds(
    storage: BatchStorage, url: URL, viewer: TestClient, clock: Clock
) -> None:
    def state(name: str) -> tuple[Any, ...]:
        told = viewer.get(f"/v1/studies/{name}").json()["submission"]
        return told["priority"], told["state"]

    desk = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    desk.submit(study_text("changing"))
    assert state("changing") == (0, "queued")
    desk.set_priority("changing", 7)  # as the command line does it: through the database
    assert state("changing") == (7, "queued")
    desk.pause("changing")
    assert state("changing") == (7, "paused")
    with storage.engine.begin() as connection:
        connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.study == "changing").values(priority=8))
    clock.now += 1.99
    assert state("changing") == (7, "paused")
    clock.now += 1.02
    assert state("changing") == (8, "paused")
    desk.cancel("changing")
    desk.delete("changing")
    assert viewer.get("/v1/studies/changing").status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_of_many_who_ask_each_costs_one_small_question(
    path: str, storage: BatchStorage, client_of: ClientOf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [client_of(role) for role in ("viewer", "leaver")]
    for each in people:
        each.get(path)
    with statements(storage) as asked:
        for _ in range(10):
            for each in people:
                assert each.get(path).status_code == 200
    assert asked == []  # SQLite was asked directly
    monkeypatch.setattr(NewestEvent, "peek", lambda _: None)  # as on a database server
    with statements(storage) as asked:
        for _ in range(10):
            for each in people:
                assert each.get(path).status_code == 200
    assert len(asked) == 20
    assert all("cifar_tune_counters" in each for each in asked)


def test_what_is_known_of_trials_is_not_looked_up_twice(
    storage: BatchStorage, client_of: ClientOf, clock: Clock
) -> None:
    for path, most in {"/": 1, "/studies/made": 1, "/v1/studies/made": 1, "/metrics": 0}.items():
        clock.now += 3600
        with statements(storage) as asked:
            assert client_of("viewer").get(path).status_code == 200
        counted = [each for each in asked if "GROUP BY trials.study_id" in each]
        assert len(counted) <= most, counted


def test_those_who_come_while_an_answer_is_made_wait_for_it(app: FastAPI, template: Template) -> None:
    here: Here = app.state.here
    answers = SharedAnswers(here.engine, here.door, Clock())
    headers = [(b"authorization", f"Bearer {template.tokens['viewer']}".encode())]
    scope = {"type": "http", "path": "/", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1)}
    come: list[int] = []
    made: list[int] = []

    async def ask(ready: asyncio.Event, status: int) -> int:
        async def make() -> Answer:
            made.append(status)
            await ready.wait()
            if status == 0:
                raise ValueError("it cannot be made")
            return Answer(status, [], [b""], None, False)

        visit = await answers.visit(scope, ("nothing", ""))
        assert visit is not None
        come.append(status)
        return (await answers.get(scope, visit, make)).status

    async def many(*statuses: int) -> list[Any]:
        made.clear()
        come.clear()
        ready = asyncio.Event()
        asked = [asyncio.create_task(ask(ready, status)) for status in statuses]
        while len(come) < len(statuses):
            await asyncio.sleep(0.001)
        ready.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    failed = asyncio.run(many(0, 0))
    assert [type(each) for each in failed] == [ValueError] * 2
    assert asyncio.run(many(404, 404, 404)) == [404] * 3  # the same for all who wait, and not kept
    assert len(made) == 1
    assert asyncio.run(many(200, 200, 200)) == [200] * 3
    assert len(made) == 1
    assert asyncio.run(many_at_rest(ask)) == 200
    assert len(made) == 1


def test_those_who_wait_for_the_same_answer_get_problems_in_their_own_form(
    app_of: AppOf, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser and a program ask for a study that is not there, and an answer is made while the other waits."""
    app = app_of()
    here: Here = app.state.here
    together = Barrier(2)
    ordinary = here.answers.visit

    async def visit(*given: Any) -> Any:
        found = await ordinary(*given)
        await asyncio.to_thread(together.wait, PATIENCE)
        return found

    monkeypatch.setattr(here.answers, "visit", visit)

    async def asked() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {template.tokens['viewer']}"},
        ) as client:
            kinds = ("text/html", "application/json")
            return await asyncio.gather(*(client.get("/studies/nonsense", headers={"Accept": each}) for each in kinds))

    page, told = asyncio.run(asked())
    assert (page.status_code, told.status_code) == (404, 404)
    assert page.headers["content-type"].startswith("text/html")
    assert told.headers["content-type"] == "application/problem+json"


def test_an_answer_that_has_just_grown_old_is_given_once_more_and_renewed(app: FastAPI, template: Template) -> None:
    here: Here = app.state.here
    clock = Clock()
    answers = SharedAnswers(here.engine, here.door, clock)
    headers = [(b"authorization", f"Bearer {template.tokens['viewer']}".encode())]
    scope = {"type": "http", "path": "/", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1)}

    async def asked(*bodies: bytes) -> list[bytes]:
        left = list(bodies)
        told: list[bytes] = []

        async def make() -> Answer:
            if left[0] == b"fails":
                raise ValueError(left.pop(0))
            return Answer(200, [], [left.pop(0)], None, False)

        for seconds in (0.0, 2.5, 0.0, 2.5, 0.0, 3.5):
            clock.now += seconds
            visit = await answers.visit(scope, ("nothing", ""))
            assert visit is not None
            together = await asyncio.gather(*(answers.get(scope, visit, make) for _ in range(3)))
            assert len({bytes(each.parts[0]) for each in together}) == 1
            told += together[0].parts
            await asyncio.sleep(0.01)
        assert not left
        return told

    assert asyncio.run(asked(b"1", b"2", b"fails", b"fails", b"3")) == [b"1", b"1", b"2", b"2", b"2", b"3"]


async def many_at_rest(ask: Any) -> int:
    """One more, of whom nothing has to wait."""
    found: int = await ask(asyncio.Event(), 500)
    return found


def test_a_database_that_is_gone_is_said_to_be_gone(template: Template, tmp_path: Path, client_of: ClientOf) -> None:
    file = tmp_path / "service.db"
    shutil.copy(template.file, file)
    url = storage_url(f"sqlite:///{file}")
    storage = open_storage(url)
    client = client_of("viewer", create_app(storage, url, WebSettings()))
    assert client.get("/v1/studies").status_code == 200
    file.rename(tmp_path / "elsewhere.db")
    answer = client.get("/v1/studies")
    assert answer.status_code == 503
    assert "elsewhere.db" in answer.json()["detail"]
    close(storage)


def test_a_database_that_fails_meanwhile_is_asked_in_the_ordinary_way(
    editor: TestClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OperationalError("SELECT", {}, Exception("it is away"))

    monkeypatch.setattr("cifar_tune.web.shared_answers.owner_of_name", fail)
    assert editor.get("/v1/studies/queued").status_code == 200


def test_what_is_made_for_each_request() -> None:
    for path in ("/login", "/metrics", "/v1/events", "/api/studies/1", "/report/made/", "/v1/studies/made/stream"):
        assert what_is_own(path) is None
    for part in ("log", "trials", "trials/7", "best", "report/summary.json", "model/best.pt", "front", "live"):
        assert what_is_own(f"/v1/studies/made/{part}") is None
    assert what_is_own("/v1/studies/made/none") == ("the study", "made/none")
    assert what_is_own("/v1/studies/a/finals") == what_is_own("/studies/a/finals") == ("the study", "a/finals")


def test_what_is_told_of_a_part_of_a_study_is_made_for_each_request(app: FastAPI) -> None:
    """A route that the list of such parts lacks would be taken for a study whose name has a slash in it."""
    start = "/v1/studies/{name:path}/"
    reads = {str(each.path) for each in iter_route_contexts(app.routes) if "GET" in (each.methods or ())}
    parts = {path for path in reads if path.startswith(start)}
    assert {f"{start}best", f"{start}stream"} <= parts
    for path in sorted(parts):
        filled = path.replace("{name:path}", "a/made").replace("{number}", "7").replace("{file:path}", "x/y.csv")
        filled = filled.replace("{kind}", "png")
        assert "{" not in filled
        assert what_is_own(filled) is None, path
    others = {path for path in reads if path.startswith("/studies/{name:path}") and path != "/studies/{name:path}"}
    assert others == set(), "what_is_own takes them for studies"
