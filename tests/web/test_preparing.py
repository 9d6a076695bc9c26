"""What a server looks at before somebody asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna import delete_study, load_study
from optuna.trial import TrialState, create_trial

from cifar_tune.service.people import Actor
from cifar_tune.service.schema import upgrade
from cifar_tune.storage import attributes, counts, ended
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.web import preparing, reading, summaries
from cifar_tune.web.app import create_app
from cifar_tune.web.here import Here
from cifar_tune.web.preparing import Preparing
from cifar_tune.web.queue_texts import QueueTexts
from cifar_tune.web.settings import WebSettings
from cifar_tune.web.summaries import Summaries
from tests.reports.factory import make_spec, random_trials, store_study
from tests.waiting import wait_until

from .conftest import study_text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setattr(preparing, "MANY", 20)
    monkeypatch.setattr(preparing, "_MUCH", 5)
    monkeypatch.setattr(reading, "_SECONDS", 0.0)
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'prepared.db'}"))
    upgrade(storage.engine)
    for name, trials in (("small", 10), ("large", 30), ("larger", 40)):
        spec = make_spec(name=name)
        store_study(spec, random_trials(spec, trials), storage)
    app = create_app(storage, storage.engine.url, WebSettings())
    yield app.state.here
    app.state.here.close()
    close(storage)


def add(here: Here, name: str, trials: int) -> None:
    study = load_study(study_name=name, storage=here.studies.storage)
    study.add_trials([create_trial(state=TrialState.FAIL)] * trials)


def test_large_studies_are_known_before_anybody_asks(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = reading.Studies(here.studies.storage, here.url)
    told = {name: (plain.status(name), plain.live(name)) for name in ("large", "larger")}
    found = Preparing(here)
    assert found.look() == ["larger", "large"]
    assert found.look() == []
    monkeypatch.setattr(ended, "counts_of_seen", lambda *_: pytest.fail("all trials are counted"))
    for name, (status, live) in told.items():
        assert (here.studies.status(name), here.studies.live(name)) == (status, live)
    add(here, "large", 5)
    assert found.look() == []
    add(here, "large", 1)
    assert found.look() == ["large"]
    assert here.studies.status("large")["counts"]["FAIL"] == told["large"][0]["counts"].get("FAIL", 0) + 6


def test_lists_are_known_before_anybody_asks(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = here.desk(Actor("anna", "editor"))
    desk.submit(study_text("waits"))
    told = Summaries(here.studies).of(["small", "large", "larger", "waits"])
    queue = QueueTexts(Summaries(here.studies)).of(desk)
    Preparing(here).look()
    for name in ("best_of_studies", "user_attribute_of_studies"):
        monkeypatch.setattr(summaries, name, lambda *_: pytest.fail("a study is looked at"))
    monkeypatch.setattr(counts, "count_all", lambda *_: pytest.fail("all trials are counted"))
    assert here.summaries.of(["small", "large", "larger", "waits"]) == told
    assert here.queue_texts.of(desk) == queue


def test_a_study_that_cannot_be_read_stands_in_nobodys_way(here: Here) -> None:
    load_study(study_name="larger", storage=here.studies.storage).set_user_attr(attributes.SPEC, {"odd": 1})
    found = Preparing(here)
    assert found.look() == ["larger", "large"]
    delete_study(study_name="larger", storage=here.studies.storage)
    assert found.look() == []


def test_the_thread_looks_until_it_is_stopped(here: Here) -> None:
    found = Preparing(here, seconds=0.01)
    found.start()
    wait_until(lambda: set(found._trials) == {"large", "larger"})
    add(here, "small", 30)
    wait_until(lambda: "small" in found._trials)
    found.stop()
    assert not found._thread.is_alive()


def test_an_error_that_nobody_has_foreseen_does_not_end_the_thread(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def look() -> list[str]:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("can't start new thread")
        return []

    found = Preparing(here, 0.001)
    monkeypatch.setattr(found, "look", look)
    found.start()
    wait_until(lambda: len(looks) > 1)
    found.stop()
    assert "cannot be prepared" in caplog.text
