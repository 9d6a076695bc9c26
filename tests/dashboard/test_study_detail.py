"""The list of all trials that we write is the one that optuna-dashboard would write, and is its own where it is not."""

import io
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from wsgiref.types import WSGIApplication

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from optuna_dashboard import save_note, wsgi
from sqlalchemy import update
from sqlalchemy.engine import URL

from cifar_tune.dashboard import study_detail
from cifar_tune.dashboard.shown_storage import ShownStorage
from cifar_tune.dashboard.study_detail import StudyDetail
from cifar_tune.optuna_internals import ARTIFACT, study_id, trial_id
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import PARAMS
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.exhaustive import few_of
from tests.many_trials import add_trials
from tests.postgres import create_database
from tests.storage.random_studies import random_trial, store_random_study

KINDS = ("a", "ü\"'", 2, 2.5, True, None)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1.0, 1.0),
    "stepped": FloatDistribution(0.0, 1.0, step=0.25),
    "n": IntDistribution(1, 1024, log=True),
    "kind": CategoricalDistribution(KINDS),
}


class Asked:
    """optuna-dashboard, which notes how many trials it was asked to look at."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.times = 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.times += 1
        return self.app(environ, start_response)


def drawing(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (no secret)


def answer(app: WSGIApplication, path: str) -> tuple[str, Any]:
    """The status, and JSON with mappings as lists of pairs, so that their order counts."""
    place, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": place, "QUERY_STRING": query, "SERVER_NAME": "test", "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http",
    }  # fmt: skip
    said: list[str] = []

    def start(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        length = dict(headers).get("Content-Length")
        said.extend((status, length or ""))

    body = b"".join(app(environ, start))
    assert said[1] in ("", str(len(body)))
    return said[0], _sorted_choices(json.loads(body, object_pairs_hook=list))


def _sorted_choices(shown: Any) -> Any:
    """Choices of search spaces in a fixed order: optuna-dashboard takes them from a set."""
    for key, value in shown:
        if key in ("union_search_space", "intersection_search_space"):
            for space in value:
                described = dict(dict(space)["distribution"])
                described.get("choices", []).sort(key=repr)
    return shown


def both(storage: BatchStorage, url: URL) -> tuple[StudyDetail, Asked, WSGIApplication]:
    """Ours with what it passes requests on to, and optuna-dashboard alone."""
    shown = ShownStorage(storage, url)
    asked = Asked(wsgi(shown))
    return StudyDetail(storage, shown, asked, fewest=0), asked, wsgi(ShownStorage(storage, url))


def assert_same(storage: BatchStorage, url: URL, studies: int, passed_on: int = 0) -> None:
    ours, asked, theirs = both(storage, url)
    for study in range(1, studies + 1):
        trials = len(storage.get_all_trials(study))
        for query in ("", "?after=0", "?after=1", f"?after={trials // 2}", f"?after={trials}", f"?after={trials + 9}"):
            path = f"/api/studies/{study}{query}"
            assert answer(ours, path) == answer(theirs, path), path
    assert asked.times == passed_on


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[BatchStorage, URL]]:
    """An empty database."""
    url = storage_url(f"sqlite:///{tmp_path / 'studies.db'}")
    if request.param == "postgresql":
        url = create_database(request.getfixturevalue("postgres"), f"opened_{uuid4().hex}")
    storage = open_storage(url)
    yield storage, url
    close(storage)


def of_every_kind(storage: BatchStorage, directions: list[StudyDirection], draw: random.Random) -> optuna.Study:
    """A study of another program: every distribution, every kind of attribute, trials in every state."""
    study = optuna.create_study(storage=storage, directions=directions)
    attrs: tuple[Any, ...] = (
        0, -1.5, 1e-7, 10**20, True, None, "plain", 'quoted " ü \n', "x" * 3000, [], {}, "", [1, 2.5, None, "ü"],
        {"long": list(range(2000))}, {"nan": math.nan}, math.nan, -math.inf,
    )  # fmt: skip
    trials = []
    for index in range(40):
        state = draw.choice((TrialState.COMPLETE, TrialState.COMPLETE, *TrialState))
        chosen = {name: each for name, each in DISTRIBUTIONS.items() if draw.random() < 0.8}
        if draw.random() < 0.2:
            chosen["x"] = FloatDistribution(-2.0, 0.5)
        params: dict[str, Any] = {name: draw.choice([0.0, 0.25, 0.5]) for name in chosen}
        params |= {"n": draw.choice([1, 7, 1024])} if "n" in chosen else {}
        params |= {"kind": draw.choice(KINDS)} if "kind" in chosen else {}
        values = [draw.choice([0.1, 0.5, 1e300, math.inf, -math.inf]) for _ in directions]
        trial = create_trial(
            state=state,
            values=values if state == TrialState.COMPLETE else None,
            params=params,
            distributions=chosen,
            user_attrs={f"attribute {index % 4}": draw.choice(attrs), "always": draw.choice(attrs), "n": index},
            intermediate_values={step: draw.choice([0.5, math.nan, math.inf, -math.inf]) for step in range(index % 4)},
        )
        trials.append(trial)
    add_trials(storage, study, trials)
    return study


def test_it_is_the_same_for_studies_of_every_kind(opened: tuple[BatchStorage, URL]) -> None:
    storage, url = opened
    draw = drawing(0)
    low, high = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
    for directions in ([low], [high], [high, low], [low, low, low]):
        of_every_kind(storage, directions, draw)
    optuna.create_study(storage=storage)
    first = min(study_id(each) for each in storage.get_all_studies())  # databases that are used again count on
    ours, asked, theirs = both(storage, url)
    for study in range(first, first + 5):
        for query in ("", "?after=0", "?after=1", "?after=20", "?after=40", "?after=49"):
            path = f"/api/studies/{study}{query}"
            assert answer(ours, path) == answer(theirs, path), path
    assert asked.times == 0


@pytest.mark.parametrize("seed", few_of(range(12), range(3)))
def test_it_is_the_same_for_studies_of_ours(tmp_path: Path, seed: int) -> None:
    url = storage_url(f"sqlite:///{tmp_path / 'studies.db'}")
    storage = open_storage(url)
    store_random_study(storage, drawing(seed), 60)
    assert_same(storage, url, 1)
    close(storage)


def test_notes_files_and_enqueued_trials(tmp_path: Path) -> None:
    url = storage_url(f"sqlite:///{tmp_path / 'studies.db'}")
    storage = open_storage(url)
    spec = store_random_study(storage, drawing(1), 20)
    study = optuna.load_study(study_name=spec.name, storage=storage)
    study.enqueue_trial({"lr": 0.5})
    study.enqueue_trial({"lr": 0.25})
    trial = study.ask()
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    own = trial_id(study.trials[trial.number])
    trial.set_user_attr("mark", "<b>")
    file = {"artifact_id": "0-0", "filename": "a", "mimetype": "text/plain", "encoding": None}
    storage.set_trial_system_attr(own, f"{ARTIFACT}0-0", json.dumps(file))
    study.tell(trial, [0.5] * len(spec.objectives))
    running = study.ask()
    running.set_user_attr("mark", "<i>")
    save_note(study, "of the study")
    save_note(trial, "of a trial")
    assert_same(storage, url, 1)
    close(storage)


def test_a_study_that_grows(tmp_path: Path) -> None:
    """What was seen of finished trials is kept; the rest is read again."""
    url = storage_url(f"sqlite:///{tmp_path / 'studies.db'}")
    storage = open_storage(url)
    draw = drawing(5)
    spec = store_random_study(storage, draw, 10)
    study = optuna.load_study(study_name=spec.name, storage=storage)
    ours, asked, _ = both(storage, url)
    for _ in range(8):
        for running in study.get_trials(states=[TrialState.RUNNING]):
            study.tell(running.number, [draw.choice([0.25, 0.5, 0.75])] * len(spec.objectives))
        add_trials(storage, study, [random_trial(spec, draw) for _ in range(5)])
        after = draw.randint(0, len(study.trials))
        path = f"/api/studies/1?after={after}"
        theirs = wsgi(ShownStorage(storage, url))  # optuna-dashboard itself looks again only after some seconds
        assert answer(ours, path) == answer(theirs, path)
    assert asked.times == 0
    close(storage)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[tuple[BatchStorage, URL]]:
    """A study of ours."""
    url = storage_url(f"sqlite:///{tmp_path / 'studies.db'}")
    storage = open_storage(url)
    store_random_study(storage, drawing(3), 30)
    yield storage, url
    close(storage)


@pytest.mark.parametrize(
    "path",
    ["/api/studies", "/api/studies/2", "/api/studies/1?after=-1", "/api/studies/1/param_importances", "/api/meta"],
)
def test_everything_else_is_passed_on(ours: tuple[BatchStorage, URL], path: str) -> None:
    detail, asked, theirs = both(*ours)
    assert answer(detail, path) == answer(theirs, path)
    assert asked.times == 1


def test_small_studies_are_left_to_optuna_dashboard(ours: tuple[BatchStorage, URL]) -> None:
    storage, url = ours
    shown = ShownStorage(storage, url)
    asked = Asked(wsgi(shown))
    status, _ = answer(StudyDetail(storage, shown, asked, fewest=31), "/api/studies/1")
    assert (status, asked.times) == ("200 OK", 1)


def newer(change: Callable[[dict[str, Any]], object]) -> Callable[..., WSGIApplication]:
    """An optuna-dashboard that writes something else into its answers."""

    def made(*args: Any, **kwargs: Any) -> WSGIApplication:
        app = wsgi(*args, **kwargs)

        def changed(environ: Any, start_response: Any) -> Any:
            said: list[Any] = []
            body = json.loads(b"".join(app(environ, lambda *given: said.append(given))))
            change(body)
            start_response(said[0][0], [("Content-Type", "application/json")])
            return [json.dumps(body).encode()]

        return changed

    return made


def more_per_trial(body: dict[str, Any]) -> None:
    for trial in body["trials"]:
        trial["weight"] = 1


def other_parameters(body: dict[str, Any]) -> None:
    for trial in body["trials"]:
        for each in trial["params"]:
            each["param_external_pytyp"] = "float"


def other_name(body: dict[str, Any]) -> None:
    body["rows"] = body.pop("trials")


def other_trials(body: dict[str, Any]) -> None:
    body["trials"] = [trial["trial_id"] for trial in body["trials"]]


def more_about_the_study(body: dict[str, Any]) -> None:
    body["weight"] = 1


@pytest.mark.parametrize(
    ("change", "passed_on"),
    [(more_per_trial, 2), (other_parameters, 2), (other_name, 2), (other_trials, 2), (more_about_the_study, 0)],
)
def test_a_newer_optuna_dashboard_is_shown_as_it_is(
    ours: tuple[BatchStorage, URL], monkeypatch: pytest.MonkeyPatch, change: Any, passed_on: int
) -> None:
    storage, url = ours
    monkeypatch.setattr(study_detail, "wsgi", newer(change))
    shown = ShownStorage(storage, url)
    asked = Asked(newer(change)(shown))
    detail = StudyDetail(storage, shown, asked, fewest=0)
    expected = newer(change)(ShownStorage(storage, url))
    for path in ("/api/studies/1", "/api/studies/1?after=7"):
        assert answer(detail, path) == answer(expected, path)
    assert asked.times == passed_on


def test_what_makes_no_sense_is_left_to_optuna_dashboard(ours: tuple[BatchStorage, URL]) -> None:
    storage, _ = ours
    with storage.engine.begin() as connection:
        connection.execute(update(PARAMS).values(distribution_json="{"))
    detail, asked, _ = both(*ours)
    assert answer(detail, "/api/studies/1")[0].startswith("500")
    assert asked.times == 1


def test_it_needs_a_few_trials_for_the_summary_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = storage_url(f"sqlite:///{tmp_path / 'studies.db'}")
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, study_name="many")
    study.set_user_attr(attributes.SPEC, {})
    trials = [
        create_trial(value=index % 7, params={"x": 0.5}, distributions={"x": DISTRIBUTIONS["x"]})
        for index in range(300)
    ]
    add_trials(storage, study, trials)
    looked: list[int] = []
    original = study_detail._Few.get_all_trials

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(self, *args, **kwargs)
        looked.append(len(found))
        return found

    monkeypatch.setattr(study_detail._Few, "get_all_trials", counted)
    shown = ShownStorage(storage, url)
    _, body = answer(StudyDetail(storage, shown, wsgi(shown)), "/api/studies/1?after=0")
    assert len(dict(body)["trials"]) == 300
    assert set(looked) == {2}  # the best, and the newest
    close(storage)
