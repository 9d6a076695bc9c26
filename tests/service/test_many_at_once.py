"""Several people and a server change the same studies at the same time: nothing is lost, and every try is recorded."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from time import time
from typing import Any

import pytest
from optuna import create_study
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import names, owners, people, submissions
from cifar_tune.service.audit import note
from cifar_tune.service.deaths import Deaths
from cifar_tune.service.ends import note_end
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import NameTakenError, QuotaError, RefusedError, UnknownStudyError
from cifar_tune.service.runs import Processes, Record
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import INTERRUPTED, Submission
from cifar_tune.service.tables import SESSIONS, SUBMISSIONS
from cifar_tune.study.removing import Removed, remove_with_linked
from cifar_tune.web.sessions import MOST_EACH, open_session, pass_of_session

from .conftest import STUDY, DeskOf

STUDIES = ("s0", "s1", "s2")
PEOPLE = ("anna", "bert", "carl")
TRIES = 25

VERBS: dict[str, Callable[[StorageDesk, str, random.Random], Submission | Removed]] = {
    "submit": lambda desk, study, _: desk.submit(STUDY, settings=[f"name={study}"]),
    "pause": lambda desk, study, _: desk.pause(study),
    "resume": lambda desk, study, _: desk.resume(study),
    "cancel": lambda desk, study, _: desk.cancel(study),
    "priority": lambda desk, study, rng: desk.set_priority(study, rng.randrange(-5, 5)),
    "workers": lambda desk, study, rng: desk.set_workers(study, rng.randrange(1, 5)),
    "delete": lambda desk, study, _: desk.delete(study),
}


def play_person(desk: StorageDesk, seed: int) -> tuple[Counter[tuple[str, str]], set[int]]:
    """Random verbs; returns how many were done and refused, and the numbers of accepted submissions."""
    rng, counts, accepted = random.Random(seed), Counter[tuple[str, str]](), set[int]()  # noqa: S311
    for _ in range(TRIES):
        action = rng.choice(["submit", *VERBS])
        try:
            found = VERBS[action](desk, rng.choice(STUDIES), rng)
        except RefusedError:
            counts[action, "refused"] += 1
        else:
            counts[action, "done"] += 1
            if isinstance(found, Submission) and action == "submit":
                accepted.add(found.id)
    return counts, accepted


def play_server(engine: Engine, desk: StorageDesk, seed: int) -> Counter[tuple[str, str]]:
    """Begin what waits and end what runs, as a server and its runs do."""
    rng, counts = random.Random(seed), Counter[tuple[str, str]]()  # noqa: S311
    for _ in range(TRIES):
        for each in desk.queue():
            with engine.begin() as connection:
                if each.state == "queued":
                    action, is_done = "start", submissions.begin(connection, each.id)
                else:
                    action, is_done = "end", submissions.end(connection, each.id, rng.choice([0, 1, 130]), "so it was")
                if is_done:
                    counts[action, "done"] += 1
                    note(connection, "server", action, each.study, "done")
    return counts


def test_nothing_is_lost_and_every_try_is_recorded_once(desk_of: DeskOf, engine: Engine) -> None:
    with ThreadPoolExecutor(len(PEOPLE) + 1) as threads:
        playing = [threads.submit(play_person, desk_of(name), seed) for seed, name in enumerate(PEOPLE)]
        server = threads.submit(play_server, engine, desk_of("server", "viewer"), len(PEOPLE))
    expected, accepted = server.result(), set[int]()
    for person in playing:
        counts, numbers = person.result()
        expected += counts
        accepted |= numbers
    desk = desk_of("root", "admin")
    events = desk.events()
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    tried = Counter[tuple[str, str]]()
    for event in events:
        tried[event.action, event.outcome] += event.detail.get("times", 1)
    assert tried == expected
    found, done = desk.submissions(), [event for event in events if event.outcome == "done"]
    deleted = {event.target: event.id for event in done if event.action == "delete"}
    submitted = {event.detail["submission"]: event for event in done if event.action == "submit"}
    assert submitted.keys() == accepted
    not_deleted = {number for number, event in submitted.items() if event.id > deleted.get(event.target, 0)}
    assert not_deleted <= {each.id for each in found} <= accepted
    living = Counter(each.study for each in found if each.is_living)
    assert set(living.values()) <= {1}
    owners = {study: {each.owner for each in found if each.study == study} for study in STUDIES}
    assert all(len(names) <= 1 for names in owners.values()), "a name stays its owner's"
    for each in found:
        assert (each.ended_at is None) == each.is_living
        assert not (each.state == "running" and each.started_at is None)


ANNA, BERT = Actor("anna", "editor"), Actor("bert", "editor")


def test_a_name_that_is_taken_between_the_look_and_the_taking_is_not_taken_twice(engine: Engine) -> None:
    with engine.connect() as slow:
        names.require_free(slow, BERT, "s0")
        with engine.begin() as quick:
            names.require_free(quick, ANNA, "s0")
            names.take(quick, ANNA, "s0")
        with pytest.raises(IntegrityError):
            names.take(slow, BERT, "s0")
    with engine.connect() as connection:
        assert names.owner_of_name(connection, "s0") == "anna"


def test_a_name_that_is_given_free_between_the_look_and_the_taking_is_taken_again(engine: Engine) -> None:
    with engine.begin() as connection:
        names.take(connection, ANNA, "s0")
    with engine.connect() as slow:
        names.require_free(slow, ANNA, "s0")
        with engine.begin() as quick:
            names.release(quick, "s0")
        names.take(slow, ANNA, "s0")
        slow.commit()
    with engine.connect() as connection:
        assert names.owner_of_name(connection, "s0") == "anna"


def test_whoever_gives_a_name_free_waits_for_somebody_who_submits_a_study_under_it(
    engine: Engine, desk_of: DeskOf
) -> None:
    made = desk_of("anna").submit(STUDY, settings=["name=s0"])
    desk_of("anna").cancel("s0")

    def release() -> None:
        with engine.begin() as connection:
            names.release(connection, "s0")

    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as slow:
            names.take(slow, ANNA, "s0")
            given = threads.submit(release)
            with pytest.raises(TimeoutError):
                given.result(timeout=0.3)
            slow.execute(insert(SUBMISSIONS).values(**_row_of(engine, made.id), living="s0", state="queued"))
        given.result()
    assert desk_of("anna").queue()
    with engine.connect() as connection:
        assert names.owner_of_name(connection, "s0") == "anna"


def test_a_study_that_is_paused_while_somebody_resumes_it_passes_no_quota(engine: Engine, desk_of: DeskOf) -> None:
    numbers = {study: desk_of("anna").submit(STUDY, settings=[f"name={study}"]).id for study in ("s0", "s1")}
    with engine.begin() as connection:
        submissions.begin(connection, numbers["s0"])
    desk_of("anna").pause("s0")
    desk_of("root", "admin").set_owner(Owner("anna", queued=1))
    with engine.begin() as run:
        submissions.end(run, numbers["s0"], INTERRUPTED, "parked")
        resumed = _begun(lambda: desk_of("anna").resume("s0"))
    with pytest.raises(QuotaError, match="has 1"):
        resumed.result()


def test_of_two_who_want_the_last_place_of_a_quota_one_gets_it(engine: Engine, desk_of: DeskOf) -> None:
    made = desk_of("anna").submit(STUDY, settings=["name=s0"])
    desk_of("anna").pause("s0")
    desk_of("root", "admin").set_owner(Owner("anna", queued=1))
    with engine.begin() as quick:
        owners.lock(quick, "anna")
        quick.execute(insert(SUBMISSIONS).values(**_row_of(engine, made.id) | {"study": "s1"}, state="queued"))
        resumed = _begun(lambda: desk_of("anna").resume("s0"))
    with pytest.raises(QuotaError, match="has 1"):
        resumed.result()


def test_whoever_changes_a_study_that_is_deleted_at_this_instant_is_told_so(engine: Engine, desk_of: DeskOf) -> None:
    made = desk_of("anna").submit(STUDY, settings=["name=s0"])
    with engine.begin() as deleting:
        submissions.cancel(deleting, made.id)
        names.release(deleting, "s0")
        anna = desk_of("anna")
        tries = [_begun(partial(verb, "s0")) for verb in (anna.pause, anna.resume, anna.cancel)]
    for each in tries:
        with pytest.raises(UnknownStudyError, match="s0"):
            each.result()


def test_of_two_who_delete_a_study_one_is_told_that_it_is_gone(
    storage: BatchStorage, desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_study(storage=storage, study_name="s0")
    slow, quick = desk_of("anna", "admin"), desk_of("bert", "admin")

    def after_the_other_one(*args: Any) -> Removed:
        monkeypatch.undo()
        quick.delete("s0")
        return remove_with_linked(*args)

    monkeypatch.setattr("cifar_tune.service.storage_desk.remove_with_linked", after_the_other_one)
    with pytest.raises(UnknownStudyError, match="s0"):
        slow.delete("s0")


def test_what_is_submitted_while_a_study_is_deleted_is_kept(
    storage: BatchStorage, desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = desk_of("anna")
    anna.submit(STUDY, settings=["name=s0"])
    anna.cancel("s0")
    create_study(storage=storage, study_name="s0")

    def slowly(*args: Any) -> Removed:
        removed = remove_with_linked(*args)
        anna.submit(STUDY, settings=["name=s0"])
        anna.cancel("s0")
        return removed

    monkeypatch.setattr("cifar_tune.service.storage_desk.remove_with_linked", slowly)
    anna.delete("s0")
    assert [each.state for each in anna.submissions()] == ["cancelled"]
    with pytest.raises(NameTakenError, match="anna"):
        desk_of("bert").submit(STUDY, settings=["name=s0"])


def test_an_end_that_arrives_while_the_server_writes_one_is_told_once(
    engine: Engine, desk_of: DeskOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "artifacts"))
    number = desk_of("anna").submit(STUDY, settings=["name=s0"]).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
    processes = Processes()
    processes.write(number, Record(("cpu",), 0.0, 0))
    dead = desk_of("anna").submission("s0")
    with engine.begin() as run:  # it was killed when it had sent this, and the database is slow
        submissions.end(run, number, 0, "its budget is used up")
        recorded = _begun(lambda: Deaths(engine, processes, print).record(dead, None, {}))
        note_end(run, number, "its budget is used up")
    assert recorded.result()
    after = desk_of("anna").submission("s0")
    assert (after.state, after.deaths) == ("done", 0)
    assert Counter(event.action for event in desk_of("anna").events())["end"] == 1


def test_of_three_who_take_a_name_that_a_fourth_one_gives_back_one_gets_it(engine: Engine, desk_of: DeskOf) -> None:
    desk_of("root", "admin").submit(STUDY, settings=["name=other"])
    with engine.connect() as fourth:
        names.take(fourth, ANNA, "s0")
        desks = [desk_of(name) for name in ("bert", "carl", "dora")]
        tries = [_begun(partial(desk.submit, STUDY, settings=["name=s0"])) for desk in desks]
        fourth.rollback()
    found = [each.exception() for each in tries]
    assert Counter(map(type, found)) == {type(None): 1, NameTakenError: 2}


def test_of_browsers_that_log_in_at_the_same_time_no_more_are_kept_than_may_be(engine: Engine) -> None:
    with engine.begin() as connection:
        token = people.create_token(connection, "root", "anna", "viewer")[0]
    anna = Actor("anna", "viewer", token.id)
    for _ in range(MOST_EACH - 1):
        open_session(engine, anna, 3600.0)
    with engine.begin() as quick:
        people.lock_token(quick, token.id)
        quick.execute(insert(SESSIONS).values(sha256="new", token=token.id, created_at=time(), expires_at=2**40))
        logged_in = _begun(partial(open_session, engine, anna, 3600.0))
    assert pass_of_session(engine, logged_in.result()) is not None
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(SESSIONS)).scalar_one() == MOST_EACH


def _begun(work: Callable[[], Any]) -> Future[Any]:
    """Work in a thread, which has got as far as it gets without this one."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 (whoever asks for the result gets it)
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    with suppress(TimeoutError):
        done.exception(timeout=0.5)
    return done


def _row_of(engine: Engine, number: int) -> dict[str, Any]:
    with engine.connect() as connection:
        row = dict(connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.id == number)).mappings().one())
    return {name: value for name, value in row.items() if name not in ("id", "living", "state")}
