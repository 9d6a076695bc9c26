"""What `/v1` answers is kept: programs rely on it. And whatever is sent, nothing breaks."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from hypothesis import Phase, given, settings

from cifar_tune.cli.http_reference import COMMAND, http_reference
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.web.app import create_app
from cifar_tune.web.settings import WebSettings

from .conftest import Template
from .fuzzing import Request, fuzzed_operations, sent
from .test_rights import contents

SNAPSHOT = Path(__file__).parent / "openapi-v1.json"
PAGE = Path(__file__).parents[2] / "docs" / "http-reference.md"


def write_snapshot() -> None:
    """Write down what there is now, and the page of the documentation that is made of it."""
    with TemporaryDirectory() as folder:
        url = storage_url(f"sqlite:///{folder}/empty.db")
        found = document(create_app(open_storage(url), url, WebSettings()))
    SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(http_reference(found), encoding="utf-8")


def document(app: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    found["info"]["version"] = "0"
    return found


def test_the_document_is_the_one_that_programs_know(app: FastAPI) -> None:
    """A change that only adds is written down with COMMAND; one that takes away needs `/v2`."""
    assert document(app) == json.loads(SNAPSHOT.read_text()), f"write it down with: {COMMAND}"


def test_the_page_says_what_the_document_says() -> None:
    found = json.loads(SNAPSHOT.read_text())
    page = PAGE.read_text(encoding="utf-8")
    assert page == http_reference(found), f"write it down with: {COMMAND}"
    headings = {line for line in page.splitlines() if line.startswith("### ")}
    operations = {f"### {method.upper()} {path}" for path, each in found["paths"].items() for method in each}
    assert headings == operations | {f"### {name}" for name in found["components"]["schemas"]}


def test_every_route_has_words_and_every_field_an_example(app: FastAPI) -> None:
    found = document(app)
    operations = [each for path in found["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for each in operations:
        assert each["description"], each["operationId"]
        for parameter in each.get("parameters", ()):
            assert parameter.get("description"), (each["operationId"], parameter["name"])
    for name, schema in found["components"]["schemas"].items():
        for field, each in schema.get("properties", {}).items():
            is_nested = "$ref" in json.dumps(each)
            assert is_nested or "examples" in each or "default" in each or "const" in each, (name, field)


def test_whatever_is_sent_nothing_breaks(app: FastAPI, template: Template, storage: BatchStorage) -> None:
    """Requests that fit the document and such that do not, from every role: no 5xx, no change without a right."""
    operations = fuzzed_operations(app)
    viewers = contents(storage)

    @settings(max_examples=30, derandomize=True, database=None, phases=[Phase.generate])
    @given(case=operations)
    def as_viewer(case: Request) -> None:
        assert sent(case, template.tokens["viewer"]) < 500
        assert contents(storage) == viewers

    @settings(max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    @given(case=operations)
    def as_admin(case: Request) -> None:
        assert sent(case, template.tokens["admin"]) < 500

    as_viewer()
    as_admin()


if __name__ == "__main__":
    write_snapshot()
