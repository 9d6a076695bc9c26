"""What matters most, on PostgreSQL and MariaDB: rights, submissions, sessions, streams, and requests without sense."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from tests.exhaustive import few_of
from tests.postgres import create_database
from tests.storage.conftest import mysql_databases

from . import test_browser_sessions, test_dashboard_gate, test_rights, test_streams, test_submitting
from .conftest import ClientOf, Template, furnish
from .test_dashboard_gate import Owned, owned
from .test_streams import address

__all__ = ["address", "owned"]


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ARTIFACTS_VARIABLE, str(tmp_path_factory.mktemp("artifacts")))
        if request.param == "postgresql":
            yield create_database(request.getfixturevalue("postgres"), "web")
            return
        with mysql_databases() as create:
            yield create()


@pytest.fixture(scope="module")
def template(url: URL) -> Template:
    return Template(Path(), furnish(url))


@pytest.fixture(scope="module")
def storage(storage: BatchStorage, template: Template) -> BatchStorage:
    """It is furnished before the service is made on it."""
    assert template.tokens
    return storage


@pytest.mark.parametrize("role", few_of([None, "viewer", "other editor", "editor"], ["viewer", "editor"]))
def test_who_may_do_what(role: str | None, client_of: ClientOf, storage: BatchStorage, admin: TestClient) -> None:
    test_rights.test_who_may_do_what(role, client_of, storage, admin)


def test_submissions(editor: TestClient, client_of: ClientOf, viewer: TestClient) -> None:
    test_submitting.test_a_study_is_queued(editor)
    test_submitting.test_the_life_of_a_submission(editor)
    test_submitting.test_a_study_is_removed_when_its_name_is_said_twice(editor, client_of, viewer)


def test_sessions(nobody: TestClient, template: Template, admin: TestClient, client_of: ClientOf) -> None:
    test_browser_sessions.test_a_browser_logs_in_with_a_token_and_out(nobody, template)
    test_browser_sessions.test_a_session_ends_with_its_token(client_of(None), admin, template)


def test_nothing_is_missed_over_a_reconnect(address: str, template: Template, storage: BatchStorage, url: URL) -> None:
    test_streams.test_nothing_is_missed_over_a_reconnect(address, template, storage, url)


def test_nobody_reaches_another_study_through_their_own(owned: dict[str, Owned], client_of: ClientOf) -> None:
    test_dashboard_gate.test_nobody_reaches_another_study_through_their_own(owned, client_of)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/studies/a%00b", b""),
        ("GET", "/v1/submissions?owner=%00", b""),
        ("POST", "/v1/studies/a%00b/cancel", b""),
        ("GET", f"/v1/events?after={2**53}", b""),
        ("GET", f"/v1/studies/made/trials?first={2**31 - 1}", b""),
        ("GET", "/api/studies/2147483648", b""),
        ("POST", "/v1/tokens", rb'{"owner": "a\u0000b"}'),
        ("POST", "/v1/tokens", rb'{"owner": "a\ud800b"}'),
        ("POST", "/v1/tokens", b'{"owner": "a", "expires_at": 1e300}'),
        ("POST", "/v1/studies", rb'{"text": "name: \"\\ud800\""}'),
        ("POST", "/v1/studies", rb'{"text": "name: x", "file": "a\u0000b", "overrides": ["x\u0000=1"]}'),
        ("POST", "/v1/studies", b'{"text": "name: x\\nbudget: {trials: ' + b"9" * 4400 + b'}"}'),
        ("POST", "/v1/studies", b"[" * 100_000),
        ("PATCH", "/v1/owners/%20", b'{"slots": 1}'),
    ],
)
def test_requests_that_make_no_sense(admin: TestClient, method: str, path: str, body: bytes) -> None:
    answer = admin.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
