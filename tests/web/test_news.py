"""New events: read once for all who wait for them, and none is missed."""

import asyncio
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import delete

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.audit import last, note
from cifar_tune.service.newest_event import NewestEvent
from cifar_tune.service.tables import EVENTS
from cifar_tune.web import news as news_module
from cifar_tune.web.news import News
from tests.waiting import PATIENCE

from .asking import statements


def reads(storage: BatchStorage) -> AbstractContextManager[list[str]]:
    """The statements that read events."""
    return statements(storage, lambda statement: "SELECT cifar_tune_events" in statement)


def happen(storage: BatchStorage, count: int) -> int:
    """Write so many events; returns the number of the last one."""
    number = 0
    for _ in range(count):
        with storage.engine.begin() as connection:
            number = note(connection, "ada", "told", None, "done")
    return number


@pytest.fixture(params=["file", "server"])
def news(request: pytest.FixtureRequest, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> News:
    """Where SQLite is asked at once for the newest number, and where only a thread can ask."""
    monkeypatch.setattr(news_module, "_LOOK_SECONDS", 0.001)
    if request.param == "server":
        monkeypatch.setattr(NewestEvent, "peek", lambda _: None)
    return News(storage.engine, NewestEvent(storage.engine))


async def heard(news: News, known: int, wanted: int) -> list[int]:
    """The numbers of so many events, as a listener hears them."""
    found: list[int] = []
    while len(found) < wanted:
        told = await news.after(known, PATIENCE)
        assert all(f"id: {each.number}\n".encode() in each.text for each in told)
        found += [each.number for each in told]
        known = found[-1] if found else known
    return found


def test_each_event_is_read_once_for_all_who_listen(news: News, storage: BatchStorage) -> None:
    async def listened() -> None:
        newest = happen(storage, 1)
        assert await news.after(newest - 1, PATIENCE)  # from now on it knows the newest one
        with reads(storage) as asked:
            assert await news.after(newest, 0.05) == []
            assert asked == [], "nothing has happened"
            listeners = [asyncio.create_task(heard(news, newest, 3)) for _ in range(10)]
            for _ in range(3):
                await asyncio.to_thread(happen, storage, 1)
            wanted = [newest + 1, newest + 2, newest + 3]
            assert await asyncio.gather(*listeners) == [wanted] * 10
            assert 1 <= len(asked) <= 3
            late = await heard(news, newest, 3)
            assert late == wanted
            assert len(asked) <= 3, "what is kept is not read again"

    asyncio.run(listened())


def test_whoever_comes_back_after_a_long_time_misses_nothing(
    news: News, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "MOST", 4)
    news = News(storage.engine, news._number)

    async def listened() -> None:
        newest = happen(storage, 3)
        assert await news.after(newest - 1, PATIENCE)
        happen(storage, 11)
        for known in (newest, newest + 5, newest + 10, newest - 2):
            wanted = list(range(known + 1, newest + 12))
            assert await heard(news, known, len(wanted)) == wanted
        begin = newest + 11
        for _ in range(2):  # what is kept is pushed out little by little
            newest = happen(storage, 3)
            assert await heard(news, newest - 3, 3) == [newest - 2, newest - 1, newest]
        assert await heard(news, begin, 6) == list(range(begin + 1, begin + 7))

    asyncio.run(listened())


def test_events_that_are_gone_are_not_waited_for_without_a_pause(news: News, storage: BatchStorage) -> None:
    async def listened() -> None:
        newest = happen(storage, 2)
        assert await news.after(newest - 1, PATIENCE)
        news._kept.clear()
        news._since = newest
        with storage.engine.begin() as connection:
            connection.execute(delete(EVENTS).where(EVENTS.c.id == newest))
            assert last(connection) == newest
        assert await news.after(newest - 1, PATIENCE) == []

    asyncio.run(listened())


def test_a_look_that_goes_wrong_is_followed_by_another(
    news: News, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, failures = news._find, [RuntimeError("can't start new thread")]

    def fails_once(known: int) -> object:
        if failures:
            raise failures.pop()
        return find(known)

    async def listened() -> None:
        newest = happen(storage, 1)
        assert await news.after(newest - 1, PATIENCE)
        monkeypatch.setattr(news, "_find", fails_once)
        waits = asyncio.create_task(heard(news, newest, 1))
        await asyncio.to_thread(happen, storage, 1)
        assert await asyncio.wait_for(waits, PATIENCE / 2) == [newest + 1]

    asyncio.run(listened())
    assert not failures
