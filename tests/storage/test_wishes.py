"""What is asked of a run through the database reaches that run, and no other."""

from collections.abc import Iterator
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine, event, inspect, update
from sqlalchemy.engine import URL

from cifar_tune.storage.lease import acquire, new_token
from cifar_tune.storage.own_tables import LEASES, LONGEST_BY, WISHES
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.wishes import Wish, ask_for_devices, ask_to_park, read_wish, this_person


@pytest.fixture
def engine(database: URL) -> Iterator[Engine]:
    storage = open_storage(database)
    yield storage.engine
    close(storage)


def let_die(engine: Engine) -> None:
    """The process that holds the leases is gone, as far as they say."""
    with engine.begin() as connection:
        connection.execute(update(LEASES).values(process_started="long ago"))


def asked(wish: Wish | None) -> tuple[bool, tuple[str, ...] | None, str] | None:
    return None if wish is None else (wish.park, wish.devices, wish.by)


def test_both_tables_are_there_if_another_process_makes_the_first_one_at_the_same_instant(engine: Engine) -> None:
    is_first = True

    def quicker(*_: object, **__: object) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            LEASES.create(engine)

    event.listen(LEASES, "before_create", quicker)
    try:
        held = acquire(engine, "s")
    finally:
        event.remove(LEASES, "before_create", quicker)
    assert not is_first
    assert read_wish(engine, "s", held.token) is None
    assert {LEASES.name, WISHES.name} <= set(inspect(engine).get_table_names())


def test_what_is_asked_adds_up_until_the_lease_is_released(engine: Engine) -> None:
    held = acquire(engine, "s")
    other = acquire(engine, "other")
    assert read_wish(engine, "s", held.token) is None
    lease_of_run = ask_for_devices(engine, "s", ["cuda:0", "cuda:1"], "anna")
    assert lease_of_run is not None
    assert lease_of_run.token == held.token
    assert asked(read_wish(engine, "s", held.token)) == (False, ("cuda:0", "cuda:1"), "anna")
    ask_for_devices(engine, "s", [], "the server")
    assert asked(read_wish(engine, "s", held.token)) == (False, (), "the server")
    ask_to_park(engine, "s", "b" * 300)
    assert asked(read_wish(engine, "s", held.token)) == (True, (), "b" * LONGEST_BY)
    ask_for_devices(engine, "s", ["cpu"], "the server")
    ask_to_park(engine, "s", "the server")
    assert asked(read_wish(engine, "s", held.token)) == (True, ("cpu",), "b" * LONGEST_BY), "who has stopped it first"
    assert read_wish(engine, "other", other.token) is None
    assert read_wish(engine, "s", other.token) is None
    held.release()
    assert read_wish(engine, "s", held.token) is None


@pytest.mark.parametrize("end", ["released", "dead"])
def test_a_wish_for_an_old_lease_is_ignored(engine: Engine, end: str) -> None:
    first = acquire(engine, "s")
    ask_to_park(engine, "s", "anna")
    if end == "released":
        first.release()
        with engine.begin() as connection:  # as of somebody who looked before, and wrote after the release
            late = {"study": "s", "token": first.token, "park": 1, "devices": None, "by": "anna", "at": 1.0}
            connection.execute(WISHES.insert().values(**late))
    else:
        let_die(engine)
    second = acquire(engine, "s", new_token())
    assert read_wish(engine, "s", second.token) is None
    assert read_wish(engine, "s", first.token) is None, "it is deleted when the lease is taken"
    ask_for_devices(engine, "s", ["cpu"], "ben")
    assert asked(read_wish(engine, "s", second.token)) == (False, ("cpu",), "ben")
    first.release()
    assert read_wish(engine, "s", second.token) is not None, "an old run deletes nothing of the next one"


def test_nobody_is_asked_where_nobody_runs_it(engine: Engine) -> None:
    assert ask_to_park(engine, "s", "anna") is None
    assert not inspect(engine).has_table(WISHES.name)
    acquire(engine, "s")
    let_die(engine)
    assert ask_to_park(engine, "s", "anna") is None, "its owner is dead"


def test_several_people_may_ask_at_the_same_instant(engine: Engine) -> None:
    held = acquire(engine, "s")
    barrier, errors = Barrier(6), list[BaseException]()

    def ask(number: int) -> None:
        barrier.wait()
        try:
            if number % 2:
                ask_to_park(engine, "s", f"person {number}")
            else:
                ask_for_devices(engine, "s", ["cpu"] * number, f"person {number}")
        except BaseException as error:  # noqa: BLE001 (the test looks at it)
            errors.append(error)

    threads = [Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    wish = read_wish(engine, "s", held.token)
    assert wish is not None
    assert wish.park
    assert wish.devices in ((), ("cpu",) * 2, ("cpu",) * 4)


@pytest.mark.parametrize("devices", ["{", "[1]", '"cpu"', '["cpu", ""]', "null", "NaN"])
def test_what_makes_no_sense_asks_for_nothing(engine: Engine, devices: str) -> None:
    held = acquire(engine, "s")
    ask_for_devices(engine, "s", ["cpu"], "anna")
    with engine.begin() as connection:
        connection.execute(update(WISHES).values(devices=devices, park=-7, at=0.0))
    assert read_wish(engine, "s", held.token) == Wish(park=False, devices=None, by="anna", at=0.0)


def test_whoever_asks_has_a_name_also_without_one_in_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.storage.wishes.socket.gethostname", lambda: "lab1")
    monkeypatch.setenv("LOGNAME", "anna")
    assert this_person() == "anna on lab1"

    def nobody() -> str:
        raise KeyError("uid not found: 4711")

    monkeypatch.setattr("cifar_tune.storage.wishes.getpass.getuser", nobody)
    assert this_person() == "somebody on lab1"
