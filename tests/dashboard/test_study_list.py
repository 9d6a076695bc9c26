"""The list of studies is what optuna-dashboard writes, and those that have not changed are not read again."""

import itertools
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import optuna
import pytest
from optuna_dashboard import wsgi
from sqlalchemy import update
from sqlalchemy.engine import URL

from cifar_tune.dashboard import study_list
from cifar_tune.dashboard.shown_storage import ShownStorage
from cifar_tune.dashboard.study_list import StudyList
from cifar_tune.optuna_internals import FrozenStudy, frozen_study, study_id
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_studies import StudyRows
from cifar_tune.optuna_tables import STUDY_USER_ATTRIBUTES
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from tests.postgres import create_database

_NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BatchStorage]:
    if request.param == "postgresql":
        url: URL = create_database(request.getfixturevalue("postgres"), f"study_list_{next(_NUMBERS)}")
    else:
        url = URL.create("sqlite", database=str(tmp_path / "studies.db"))
    opened = open_storage(url)
    yield opened
    close(opened)


def asked(app: WSGIApplication, method: str = "GET", query: str = "") -> tuple[str, bytes]:
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": "/api/studies", "QUERY_STRING": query, "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": BytesIO(), "CONTENT_LENGTH": "0",
    }  # fmt: skip
    found: list[str] = []
    body = b"".join(app(environ, lambda status, *_: found.append(status)))  # type: ignore[arg-type]
    return found[0], body


def test_the_list_is_that_of_optuna_dashboard(storage: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = wsgi(ShownStorage(storage, storage.engine.url))
    passed_on: list[str] = []

    def counting(environ: Any, start_response: Any) -> Any:
        passed_on.append(environ["REQUEST_METHOD"])
        return theirs(environ, start_response)

    ours, read = StudyList(storage, counting), list[int]()

    def reading(study: int, rows: StudyRows) -> FrozenStudy:
        read.append(study)
        return frozen_study(study, rows)

    monkeypatch.setattr(study_list, "frozen_study", reading)

    def require_the_same(*names: str) -> None:
        """The same list, for which these studies were read."""
        read.clear()
        found = asked(ours)
        assert found == asked(theirs)
        known = {each["study_id"]: each["study_name"] for each in json.loads(found[1])["study_summaries"]}
        assert [known[each] for each in read] == list(names)

    require_the_same()
    first = optuna.create_study(study_name="first", storage=storage, direction="maximize")
    second = optuna.create_study(study_name="zweite, ü", storage=storage, directions=["minimize", "maximize"])
    first.set_user_attr("long", ["x" * 500] * 4)
    first.set_user_attr("number", 2.5)
    first.set_user_attr(f"{attributes.TEST_ANALYSIS}0", "long text of an opening")
    require_the_same("first", "zweite, ü")
    require_the_same()
    storage.set_study_system_attr(study_id(second), "preference:is_preferential_study", True)
    second.set_user_attr("text", 'with "quotes" and ü')
    require_the_same("zweite, ü")
    first.set_user_attr("number", 3)
    require_the_same("first")
    optuna.delete_study(study_name="zweite, ü", storage=storage)
    optuna.create_study(study_name="third", storage=storage)
    require_the_same("third")
    assert passed_on == []
    with storage.engine.begin() as connection:
        wrong = update(STUDY_USER_ATTRIBUTES).where(STUDY_USER_ATTRIBUTES.c.key == "number").values(value_json="{")
        connection.execute(wrong)
    assert asked(ours) == asked(theirs)
    assert passed_on == ["GET"]  # it knows what to say of a study that is damaged


def test_other_requests_are_passed_on(storage: BatchStorage) -> None:
    theirs = wsgi(ShownStorage(storage, storage.engine.url))
    assert asked(StudyList(storage, theirs), "POST") == asked(theirs, "POST")
    ours = StudyList(storage, lambda *_: pytest.fail("it was passed on"))
    assert asked(ours, query="a=b") == asked(theirs, query="a=b")


def test_optuna_dashboard_answers_itself_where_it_has_another_form(storage: BatchStorage) -> None:
    optuna.create_study(study_name="first", storage=storage)
    ours = StudyList(storage, lambda *_: [b"theirs"])

    def newer(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b'{"studies": []}']

    ours._writer = newer
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies"}
    assert list(ours(environ, lambda *_: pytest.fail("it answers"))) == [b"theirs"]
