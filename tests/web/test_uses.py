"""When tokens were used is noted at once, and written for many in one transaction."""

import threading

import pytest
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor, write_uses
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web import uses
from cifar_tune.web.uses import Uses


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_uses_are_written_together(storage: BatchStorage, url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    root = StorageDesk(storage.engine, url, Actor("root", "admin"))
    first, second = (root.create_token("nora", "viewer")[0].id for _ in range(2))
    clock, written, away = Clock(), [], [False]
    noted = Uses(storage.engine, 3600.0, clock)

    def write(engine: object, found: dict[int, float]) -> None:
        written.append(dict(found))
        if away[0]:
            raise OperationalError("UPDATE", {}, Exception("it is away"))
        write_uses(engine, found)  # type: ignore[arg-type]

    monkeypatch.setattr(uses, "write_uses", write)
    for _ in range(3):
        noted.note(first)
        noted.note(second)
        clock.now += 10.0
    noted.write()
    assert written == [{first: 1000.0, second: 1000.0}]
    assert {each.id: each.used_at for each in root.tokens()}[second] == 1000.0
    clock.now = 1061.0
    away[0] = True
    noted.note(first)
    noted.write()
    away[0] = False
    noted.note(second)
    noted.write()
    assert written[1:] == [{first: 1061.0}, {first: 1061.0, second: 1061.0}]
    assert {each.id: each.used_at for each in root.tokens()}[first] == 1061.0
    noted.write()
    assert written[3:] == [{}]


def test_uses_are_written_by_themselves(storage: BatchStorage, url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    is_written = threading.Event()
    monkeypatch.setattr(uses, "write_uses", lambda *_: is_written.set())
    Uses(storage.engine, 0.0).note(1)
    assert is_written.wait(60)


def test_where_there_can_be_no_more_threads_the_next_use_tries_it_again(
    storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[int, float]] = []
    is_written = threading.Event()

    def write(_engine: object, found: dict[int, float]) -> None:
        written.append(found)
        is_written.set()

    def refused(_timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(uses, "write_uses", write)
    noted = Uses(storage.engine, 0.0, Clock())
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Timer, "start", refused)
        noted.note(1)
    noted.note(2)
    assert is_written.wait(60)
    assert written == [{1: 1000.0, 2: 1000.0}]
