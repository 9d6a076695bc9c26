"""The queue as it is answered from kept texts, beside a reading that keeps nothing."""

import random

from optuna import load_study
from optuna.trial import TrialState, create_trial

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import submissions
from cifar_tune.service.people import Actor
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.web.here import Here
from cifar_tune.web.models.queueing import Queue, told
from cifar_tune.web.queue_texts import QueueTexts
from cifar_tune.web.reading import Studies
from cifar_tune.web.summaries import Summaries
from tests.reports.factory import make_spec, random_trials, store_study

from .conftest import AppOf, ClientOf, study_text

PEOPLE = (Actor("vera", "viewer"), Actor("anna", "editor"), Actor("olaf", "editor"), Actor("root", "admin"))


def test_each_sees_byte_by_byte_what_a_reading_without_memory_shows(app_of: AppOf, storage: BatchStorage) -> None:
    here: Here = app_of().state.here
    draw = random.Random(5)  # noqa: S311 (no secret)
    anna, olaf = (here.desk(Actor(name, "editor")) for name in ("anna", "olaf"))
    anna.submit(study_text("first"), notify=["https://example.org/anna"])
    olaf.submit(study_text("second"), notify=["https://example.org/olaf"], priority=3)
    store_study(make_spec(name="first"), random_trials(make_spec(name="first"), 5), storage)

    def compare() -> None:
        for person in PEOPLE:
            kept = here.queue_texts.of(here.desk(person))
            fresh = Summaries(Studies(storage, here.url)).so_far
            read = StorageDesk(storage.engine, here.url, person, look=fresh).queue()
            assert kept == Queue(submissions=[told(each, with_text=False) for each in read]).model_dump_json().encode()
            others = {"vera": (b"anna", b"olaf"), "anna": (b"olaf",), "olaf": (b"anna",)}.get(person.name, ())
            assert not any(b"example.org/" + name in kept for name in others)

    number = {each.study: each.id for each in olaf.queue()}
    for turn in range(25):
        compare()
        match draw.choice(["priority", "workers", "waits", "begin", "pause", "resume", "trial"]):
            case "priority":
                anna.set_priority("first", turn)
            case "workers":
                olaf.set_workers("second", turn + 1)
            case "waits":
                with storage.engine.begin() as connection:
                    submissions.tell(connection, number["second"], f"because of {turn}", turn)
            case "begin":
                with storage.engine.begin() as connection:
                    submissions.begin(connection, number["first"])
            case "pause":
                olaf.pause("second")
            case "resume":
                olaf.resume("second")
            case _:
                load_study(study_name="first", storage=storage).add_trial(create_trial(state=TrialState.FAIL))
    olaf.cancel("second")
    compare()
    olaf.delete("second")
    olaf.submit(study_text("second"))
    compare()


def test_texts_of_what_has_ended_are_forgotten(app_of: AppOf) -> None:
    here: Here = app_of().state.here
    texts = QueueTexts(here.summaries)
    desk = here.desk(Actor("anna", "editor"))
    for _ in range(120):
        desk.submit(study_text("brief"))
        assert b'"brief"' in texts.of(desk)
        desk.cancel("brief")
    assert b'"brief"' not in texts.of(desk)
    assert len(texts._kept) <= 110


def test_an_answer_is_joined_once_as_long_as_nothing_changes(app_of: AppOf) -> None:
    here: Here = app_of().state.here
    desk = here.desk(Actor("anna", "editor"))
    first = here.queue_texts.of(desk)
    assert here.queue_texts.of(desk) is first
    desk.submit(study_text("another"), notify=["https://example.org/anna"])
    now = here.queue_texts.of(desk)
    assert now != first
    for owner in ("vera", "lena", "otto", "olga", "ines", "paul"):
        here.desk(Actor(owner, "admin")).submit(study_text(f"of-{owner}"))
        for name in ("anna", owner):
            here.queue_texts.of(here.desk(Actor(name, "editor")))
    assert len(here.queue_texts._whole) == 4


def test_the_route_answers_these_bytes(client_of: ClientOf) -> None:
    answer = client_of("viewer").get("/v1/queue")
    assert answer.headers["content-type"] == "application/json"
    assert [each["study"] for each in Queue.model_validate_json(answer.content).model_dump()["submissions"]]
    assert all(each["text"] is None for each in answer.json()["submissions"])
