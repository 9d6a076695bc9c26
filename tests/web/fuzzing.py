"""Requests that schemathesis draws from the OpenAPI document of the service."""

from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import strategies
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode

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
