"""Several people and a server change the same studies at the same time: nothing is lost, and every try is recorded."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from cifar_tune.service import names, submissions
from cifar_tune.service.audit import note
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import RefusedError
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import SUBMISSIONS

from .conftest import DeskOf
from .test_desk import STUDY

STUDIES = ("s0", "s1", "s2")
PEOPLE = ("anna", "bert", "carl")
TRIES = 25

VERBS: dict[str, Callable[[StorageDesk, str, random.Random], Submission]] = {
    "submit": lambda desk, study, _: desk.submit(STUDY, settings=[f"name={study}"]),
    "pause": lambda desk, study, _: desk.pause(study),
    "resume": lambda desk, study, _: desk.resume(study),
    "cancel": lambda desk, study, _: desk.cancel(study),
    "priority": lambda desk, study, rng: desk.set_priority(study, rng.randrange(-5, 5)),
    "workers": lambda desk, study, rng: desk.set_workers(study, rng.randrange(1, 5)),
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
            if action == "submit":
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
        people = [threads.submit(play_person, desk_of(name), seed) for seed, name in enumerate(PEOPLE)]
        server = threads.submit(play_server, engine, desk_of("server", "viewer"), len(PEOPLE))
    expected, accepted = server.result(), set[int]()
    for person in people:
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
    found = desk.submissions()
    assert {each.id for each in found} == accepted
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
            names.give_free(quick, "s0")
        names.take(slow, ANNA, "s0")
        slow.commit()
    with engine.connect() as connection:
        assert names.owner_of_name(connection, "s0") == "anna"


def test_whoever_gives_a_name_free_waits_for_somebody_who_submits_a_study_under_it(
    engine: Engine, desk_of: DeskOf
) -> None:
    made = desk_of("anna").submit(STUDY, settings=["name=s0"])
    desk_of("anna").cancel("s0")

    def give_free() -> None:
        with engine.begin() as connection:
            names.give_free(connection, "s0")

    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as slow:
            names.take(slow, ANNA, "s0")
            given = threads.submit(give_free)
            with pytest.raises(TimeoutError):
                given.result(timeout=0.3)
            slow.execute(insert(SUBMISSIONS).values(**_row_of(engine, made.id), living="s0", state="queued"))
        given.result()
    assert desk_of("anna").queue()
    with engine.connect() as connection:
        assert names.owner_of_name(connection, "s0") == "anna"


def _row_of(engine: Engine, number: int) -> dict[str, Any]:
    with engine.connect() as connection:
        row = dict(connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.id == number)).mappings().one())
    return {name: value for name, value in row.items() if name not in ("id", "living", "state")}
