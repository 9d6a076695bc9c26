"""Many who watch the same study: one looks for all of them."""

import asyncio

import pytest

from cifar_tune.web.watched import Standing, Watched, pause_after


class Reading:
    """Looks that end when the test says so."""

    def __init__(self) -> None:
        self.count = 0
        self._answers: asyncio.Queue[Standing | Exception | None] = asyncio.Queue()

    async def __call__(self) -> Standing | None:
        self.count += 1
        found = await self._answers.get()
        if isinstance(found, Exception):
            raise found
        return found

    def let(self, found: Standing | Exception | None) -> None:
        self._answers.put_nowait(found)


def standing(mark: str) -> Standing:
    return Standing(mark, b"data: {}\n\n")


def test_one_looks_for_all_who_watch_and_only_news_wakes_them() -> None:
    async def watched_by_ten() -> None:
        watched, reading = Watched(0.0), Reading()

        async def all_of_them(known: str) -> list[Standing | None]:
            tasks = [asyncio.create_task(watched.another("made", known, reading, 60.0)) for _ in range(10)]
            await asyncio.sleep(0)
            return await asyncio.gather(*tasks)

        reading.let(standing("a"))
        assert await all_of_them("") == [standing("a")] * 10
        reading.let(standing("a"))
        reading.let(standing("b"))
        assert await all_of_them("a") == [standing("b")] * 10
        assert reading.count == 3
        other = asyncio.create_task(watched.another("other", "b", reading, 60.0))
        reading.let(standing("c"))
        assert await other == standing("c")
        reading.let(None)
        assert await all_of_them("b") == [None] * 10

    asyncio.run(watched_by_ten())


def test_whoever_comes_later_is_told_at_once_and_waits_no_longer_than_they_want() -> None:
    async def watched_by_two() -> None:
        watched, reading = Watched(3600.0), Reading()
        reading.let(standing("a"))
        assert await watched.another("made", "", reading, 60.0) == standing("a")
        assert await watched.another("made", "", reading, 60.0) == standing("a")
        with pytest.raises(TimeoutError):
            await watched.another("made", "a", reading, 0.01)
        assert reading.count == 1

    asyncio.run(watched_by_two())


def test_all_learn_that_a_look_went_wrong() -> None:
    async def watched_by_three() -> None:
        watched, reading = Watched(0.0), Reading()
        tasks = [asyncio.create_task(watched.another("made", "", reading, 60.0)) for _ in range(3)]
        reading.let(ValueError("wrong"))
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [ValueError] * 3
        reading.let(standing("a"))
        assert await watched.another("made", "", reading, 60.0) == standing("a")

    asyncio.run(watched_by_three())


def test_what_takes_long_is_looked_at_less_often() -> None:
    assert [pause_after(took, 1.0) for took in (0.001, 0.03, 60.0)] == [1.0, 1.5, 3.0]
    assert pause_after(60.0, 3600.0) == 3600.0
