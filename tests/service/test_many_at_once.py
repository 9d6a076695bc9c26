"""Several people and a server change the same studies at the same time: nothing is lost, and every try is recorded."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from cifar_tune.service import submissions
from cifar_tune.service.audit import note
from cifar_tune.service.refusals import RefusedError
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import Submission

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
