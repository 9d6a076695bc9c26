"""Requests that schemathesis draws from the OpenAPI document of the service.

`python -m tests.web.fuzzing 2000` sends so many to a service with a few studies: the first half as viewers, editors and
people without a token, who must not change anything of others, the rest as an administrator. It counts the answers by
their status, and ends with 1 if one of them is a 5xx, or somebody has changed what they may not.
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
from sqlalchemy import select
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.tables import NAMES, OWNERS, SESSIONS, SUBMISSIONS, TOKENS
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.web.app import create_app
from cifar_tune.web.settings import WebSettings
from tests.web.conftest import ROLES, furnish

Request = schemathesis.Case[Any]

_ENDLESS = ("listen", "watch")
"""Operations whose answers never end."""


def fuzzed_operations(app: FastAPI) -> SearchStrategy[Request]:
    """Requests that fit the document, and such that do not."""
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app, headers={"Host": "127.0.0.1"})
    finite = schema.exclude(operation_id=list(_ENDLESS))
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return strategies.one_of(*(finite.as_strategy(generation_mode=mode) for mode in modes))


def sent(case: Request, token: str | None) -> int:
    """The status of the answer to somebody with this token, or without one."""
    shown = {} if token is None else {"Authorization": f"Bearer {token}"}
    return case.call(headers={"Host": "127.0.0.1", **shown}).status_code


def count_answers(folder: Path, requests: int) -> tuple[Counter[int], list[str]]:
    """How many answers have each status, and who has changed what they may not."""
    url = storage_url(f"sqlite:///{folder / 'fuzzed.db'}")
    tokens = furnish(url)
    storage = open_storage(url)
    app = create_app(storage, url, WebSettings())
    with TestClient(app, "http://127.0.0.1") as client:  # so that wrong tokens, which are drawn too, lock out nobody
        for token in tokens.values():
            client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    operations = fuzzed_operations(app)
    found: Counter[int] = Counter()
    wrong = []

    def send_as(token: str | None, count: int) -> None:
        @settings(
            max_examples=count, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operations)
        def send(case: Request) -> None:
            found[sent(case, token)] += 1

        send()

    for role in ("nobody", "viewer", "other editor"):
        name = ROLES[role][0] if role in ROLES else None
        before = _of_others(storage, name)
        send_as(tokens.get(role), requests // 6)
        changed = [kind for kind, rows in _of_others(storage, name).items() if rows != before[kind]]
        wrong += [f"{kind} by {role}" for kind in changed]
    send_as(tokens["admin"], requests - found.total())
    return found, wrong


def _of_others(storage: BatchStorage, name: str | None) -> dict[str, list[Any]]:
    """All that belongs to nobody or to somebody else: an editor may submit studies, and everybody revoke own tokens."""
    wanted = {
        "submissions": select(SUBMISSIONS).where(SUBMISSIONS.c.owner != (name or "")),
        "names": select(NAMES).where(NAMES.c.owner != (name or "")),
        "tokens": select(TOKENS.c.id, TOKENS.c.role, TOKENS.c.revoked_at).where(TOKENS.c.owner != (name or "")),
        "owners": select(OWNERS).where(OWNERS.c.name != (name or "")),
        "sessions": select(SESSIONS),
    }
    with storage.engine.connect() as connection:
        rows = {kind: [tuple(row) for row in connection.execute(each)] for kind, each in wanted.items()}
    return {**rows, "studies": sorted(study.study_name for study in storage.get_all_studies())}


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        answers, changed = count_answers(Path(made), int(sys.argv[1]))
    print(", ".join(f"{count} times {status}" for status, count in sorted(answers.items())))
    print("changed by who may not:", ", ".join(changed) or "nothing")
    sys.exit(bool(changed) or any(status >= 500 for status in answers))
