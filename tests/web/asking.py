"""How tests ask the service, and what it asks the database then."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.web.settings import TrustedProxy

from .conftest import OURS

PROXY = TrustedProxy(("10.9.0.0/16",), "X-User", "X-Role")


def outcome(client: TestClient, headers: Mapping[str, str], method: str = "GET", path: str = "/v1/me") -> int:
    return client.request(method, path, headers=dict(headers)).status_code


def log_in(client: TestClient, token: str, headers: Mapping[str, str] = OURS) -> Any:
    return client.post("/login", data={"token": token}, headers=dict(headers))


def get(client: TestClient, path: str, status: int = 200) -> Any:
    """What is answered as JSON, with this status."""
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def _is_for_an_answer(statement: str) -> bool:
    return "UPDATE cifar_tune_tokens" not in statement  # a thread of its own writes the last uses for all


@contextmanager
def statements(storage: BatchStorage, is_wanted: Callable[[str], bool] = _is_for_an_answer) -> Iterator[list[str]]:
    """What the database is asked in the block."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if is_wanted(statement):
            found.append(statement)

    event.listen(storage.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(storage.engine, "before_cursor_execute", note)
