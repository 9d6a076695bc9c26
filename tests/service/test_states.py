"""How the state of a submission changes: by people, by its runs, and by both at the same instant."""

import re
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine, event

from cifar_tune.service import submissions
from cifar_tune.service.ends import note_end
from cifar_tune.service.refusals import ConflictError

from .conftest import STUDY, DeskOf


def test_what_waits_is_changed_at_once(desk_of: DeskOf) -> None:
    desk = desk_of("anna")
    desk.submit(STUDY)
    assert (desk.pause("mine").state, desk.resume("mine").state) == ("paused", "queued")
    assert desk.set_priority("mine", -3).priority == -3
    assert desk.set_workers("mine", 4).workers == 4
    assert desk.set_workers("mine", None).workers is None
    ended = desk.cancel("mine")
    assert (ended.state, ended.is_living, ended.ended_at is not None) == ("cancelled", False, True)
    for change in (desk.pause, desk.resume, desk.cancel, lambda study: desk.set_priority(study, 1)):
        with pytest.raises(ConflictError, match=r"'mine' has ended \(cancelled\); submit it again"):
            change("mine")


@pytest.mark.parametrize(
    ("wish", "exit_code", "state"),
    [
        ("pause", 130, "paused"),
        ("cancel", 130, "cancelled"),
        ("resume", 130, "queued"),
        ("pause", 0, "done"),
        ("cancel", 0, "done"),
        ("resume", 1, "failed"),
        ("pause", 2, "failed"),
        ("cancel", 1, "cancelled"),
    ],
)
def test_what_runs_is_changed_by_its_end(
    desk_of: DeskOf, engine: Engine, wish: str, exit_code: int, state: str
) -> None:
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    with engine.begin() as connection:
        assert submissions.begin(connection, number)
        assert not submissions.begin(connection, number)
    asked = getattr(desk, wish)("mine")
    assert (asked.state, asked.wanted) == ("running", "run" if wish == "resume" else wish)
    with engine.begin() as connection:
        assert submissions.end(connection, number, exit_code, "it was so")
        assert not submissions.end(connection, number, 0, "twice")
    found = desk.submission("mine")
    says_nothing = (wish, exit_code) == ("cancel", 130)  # that it was parked says nothing of what does not go on
    assert (found.state, found.message) == (state, None if says_nothing else "it was so")
    assert found.exit_code == (None if exit_code == 130 else exit_code)
    if not found.is_living:
        assert found.ended_at is not None
        desk.submit(STUDY)


def test_a_study_that_is_cancelled_while_it_waits_is_not_said_to_be_parked(desk_of: DeskOf, engine: Engine) -> None:
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.end(connection, number, 130, "parked")
    assert desk.submission("mine").message == "parked"
    assert desk.cancel("mine").message is None
    number = desk.submit(STUDY).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
    desk.cancel("mine")
    with engine.begin() as connection:
        submissions.end(connection, number, 130, "parked")
        note_end(connection, number, "parked")
    assert desk.events(None)[-1].detail["why"] == "cancelled"


def test_a_start_and_a_cancellation_at_the_same_instant_lose_nothing(desk_of: DeskOf, engine: Engine) -> None:
    desk = desk_of("anna")
    for number in range(8):
        study = f"s{number}"
        key = desk.submit(STUDY, settings=[f"name={study}"]).id
        barrier, started = Barrier(2), list[bool]()

        def start(key: int, barrier: Barrier, started: list[bool]) -> None:
            barrier.wait()
            with engine.begin() as connection:
                started.append(submissions.begin(connection, key))

        thread = Thread(target=start, args=(key, barrier, started))
        thread.start()
        barrier.wait()
        desk.cancel(study)
        thread.join()
        found = desk.submission(study)
        assert found.wanted == "cancel"
        assert found.state == ("running" if started == [True] else "cancelled")


def test_a_process_that_died_is_counted_and_its_study_queued_again(desk_of: DeskOf, engine: Engine) -> None:
    number = desk_of("anna").submit(STUDY).id
    for deaths in (1, 2):
        with engine.begin() as connection:
            submissions.begin(connection, number)
            assert submissions.requeue(connection, number, "its process died", is_death=True)
            assert not submissions.requeue(connection, number, "its process died", is_death=True)
        found = desk_of("anna").submission("mine")
        assert (found.state, found.deaths, found.message) == ("queued", deaths, "its process died")


def test_what_ended_last_comes_first_of_what_has_ended(desk_of: DeskOf) -> None:
    desk = desk_of("anna")
    for name, priority in (("first", 9), ("second", 0), ("third", 0)):
        desk.submit(STUDY, settings=[f"name={name}"], priority=priority)
    for name in ("third", "first"):
        desk.cancel(name)
    assert [each.study for each in submissions.in_order(desk.submissions())] == ["second", "first", "third"]


def test_a_run_that_parks_ends_the_row_of_deaths_before_it(desk_of: DeskOf, engine: Engine) -> None:
    number = desk_of("anna").submit(STUDY).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.requeue(connection, number, "its process died", is_death=True)
        submissions.begin(connection, number)
    assert desk_of("anna").submission("mine").message == "its process died"
    with engine.begin() as connection:
        submissions.end(connection, number, submissions.INTERRUPTED, "parked")
    assert desk_of("anna").submission("mine").deaths == 0
    with engine.begin() as connection:
        submissions.begin(connection, number)
    assert desk_of("anna").submission("mine").message is None, "it is not parked any more"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_state_is_set_last_since_mysql_lets_what_follows_see_the_new_one(desk_of: DeskOf, engine: Engine) -> None:
    statements = list[str]()
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    desk.pause("mine")
    desk.resume("mine")
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.end(connection, number, submissions.INTERRUPTED, None)
    desk.cancel("mine")
    updates = [each for each in statements if each.startswith("UPDATE cifar_tune_submissions") and " state=" in each]
    assert len(updates) == 5
    for each in updates:
        changes = each.partition(" WHERE cifar_tune_submissions.id")[0]
        assert re.findall(r"(?:SET|,) (\w+)=", changes)[-1] == "state"
