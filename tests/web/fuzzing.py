"""Requests that schemathesis draws from the OpenAPI document of the service.

`python -m tests.web.fuzzing 2000` sends so many as an administrator to an empty service, counts the answers by their
status, and ends with 1 if one of them is a 5xx.
"""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode

from cifar_tune.service.people import create_token
from cifar_tune.service.schema import upgrade
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.web.app import create_app
from cifar_tune.web.settings import WebSettings

Request = schemathesis.Case[Any]

_ENDLESS = ("listen", "watch")
"""Operations whose answers never end."""


def fuzzed_operations(app: FastAPI) -> SearchStrategy[Request]:
    """Requests that fit the document, and such that do not."""
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app, headers={"Host": "127.0.0.1"})
    finite = schema.exclude(operation_id=list(_ENDLESS))
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return strategies.one_of(*(finite.as_strategy(generation_mode=mode) for mode in modes))


def sent(case: Request, token: str) -> int:
    """The status of the answer."""
    headers = {"Host": "127.0.0.1", "Authorization": f"Bearer {token}"}
    return case.call(headers=headers).status_code


def count_answers(folder: Path, requests: int) -> Counter[int]:
    """How many answers have each status."""
    url = storage_url(f"sqlite:///{folder / 'fuzzed.db'}")
    storage = open_storage(url)
    upgrade(storage.engine)
    with storage.engine.begin() as connection:
        token = create_token(connection, "root", "root", "admin")[1]
    app = create_app(storage, url, WebSettings())
    found: Counter[int] = Counter()

    @settings(max_examples=requests, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=fuzzed_operations(app))
    def send(case: Request) -> None:
        found[sent(case, token)] += 1

    send()
    return found


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        answers = count_answers(Path(made), int(sys.argv[1]))
    print(", ".join(f"{count} times {status}" for status, count in sorted(answers.items())))
    sys.exit(any(status >= 500 for status in answers))
