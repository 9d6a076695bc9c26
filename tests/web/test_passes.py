"""What a token opens is remembered, and forgotten with the next event or at its end."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor, Pass
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.passes import Passes
from cifar_tune.web.settings import Limits
from tests.waiting import PATIENCE

from .asking import statements
from .conftest import OURS, AppOf, ClientOf, Clock


def test_who_is_let_out_is_not_remembered(storage: BatchStorage, url: URL, client_of: ClientOf, clock: Clock) -> None:
    desk = StorageDesk(storage.engine, url, Actor("root", "admin"))
    token, secret = desk.create_token("nora", "viewer")
    shown = {"Authorization": f"Bearer {secret}"}
    nobody, browser = client_of(None), client_of(None)
    assert browser.post("/login", data={"token": secret}, headers=OURS).status_code == 303
    for _ in range(2):
        assert nobody.get("/v1/queue", headers=shown).status_code == 200
        assert browser.get("/").status_code == 200
    assert browser.post("/logout", headers=OURS).status_code == 303
    assert browser.get("/").status_code == 303
    assert nobody.get("/v1/queue", headers=shown).status_code == 200
    desk.revoke_token(token.id)
    assert nobody.get("/v1/queue", headers=shown).status_code == 401


def test_what_a_token_opens_is_remembered_until_an_event_or_its_end() -> None:
    clock = Clock()
    passes = Passes(clock)
    looks: list[float] = []

    def look(until: float | None = None) -> Pass:
        looks.append(clock.now)
        return Pass(Actor("anna", "viewer"), until)

    for newest in (None, None, 1, 1, 2, 2):
        passes.get("ct_x", newest, look)
    assert len(looks) == 4  # each time where nobody has looked for events, and once for each event
    for _ in range(4):
        passes.get("ct_y", 2, lambda: look(110.0))
        clock.now += 4
    assert looks[4:] == [100.0, 112.0]
    passes.get("ct_x", 2, look)
    assert len(looks) == 6
    clock.now += 300
    assert passes.known("ct_x", 2) is None
    passes.get("ct_x", 2, look)
    assert len(looks) == 7  # somebody may have changed the database by hand
    assert passes.known("ct_x", 2) is not None
    assert passes.known("ct_x", 3) is None


def test_of_many_who_show_the_same_token_at_once_one_looks() -> None:
    passes, began, goes_on = Passes(), Event(), Event()
    looks: list[str] = []

    def look() -> Pass:
        looks.append("ct_x")
        began.set()
        assert goes_on.wait(PATIENCE)
        return Pass(Actor("anna", "viewer"), None)

    with ThreadPoolExecutor(10) as threads:
        found = [threads.submit(passes.get, "ct_x", 1, look) for _ in range(10)]
        assert began.wait(PATIENCE)
        assert passes.known("ct_x", 1) is None  # it never waits
        goes_on.set()
        assert {each.result(PATIENCE) for each in found} == {Pass(Actor("anna", "viewer"), None)}
    assert looks == ["ct_x"]


@pytest.mark.parametrize("path", ["/v1/me", "/v1/tokens", "/v1/studies/queued/log"])
def test_who_reads_is_looked_up_once_until_an_event(
    path: str, storage: BatchStorage, url: URL, client_of: ClientOf
) -> None:
    def looked_up() -> int:
        with statements(storage) as asked:
            assert client.get(path, headers=shown).status_code == 200
        return sum("cifar_tune_tokens.sha256 =" in each for each in asked)

    desk = StorageDesk(storage.engine, url, Actor("root", "admin"))
    token, secret = desk.create_token("nina", "viewer")
    shown, client = {"Authorization": f"Bearer {secret}"}, client_of(None)
    assert [looked_up() for _ in range(3)] == [1, 0, 0]
    desk.set_priority("queued", 1)
    assert [looked_up() for _ in range(2)] == [1, 0]
    desk.revoke_token(token.id)
    assert client.get(path, headers=shown).status_code == 401


def test_a_wrong_token_counts_once(app_of: AppOf, client_of: ClientOf) -> None:
    client = client_of(None, app_of(limits=Limits(failures=3)))
    wrong = {"Authorization": "Bearer ct_wrong"}
    assert [client.get("/v1/queue", headers=wrong).status_code for _ in range(4)] == [401, 401, 401, 429]
