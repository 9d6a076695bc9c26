"""A storage with studies and people, and the service on it, asked within this process."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor, Role, create_token
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE, storage_url
from cifar_tune.web.app import create_app
from cifar_tune.web.here import Here
from cifar_tune.web.passes import Passes
from cifar_tune.web.settings import WebSettings
from cifar_tune.web.shared_answers import SharedAnswers
from tests.reports.factory import MadeTrial, make_spec, random_trials, store_study

STUDY = """\
name: {name}
budget: {{trials: 3}}
data: {{name: digits}}
train: {{model: cnn3, width: 8, epochs: 2}}
search_space: {{lr: {{low: 1e-3, high: 1e-1, log: true}}}}
"""
OURS = {"Origin": "http://127.0.0.1"}
"""What a browser says of our own pages."""

ROLES: dict[str, tuple[str, Role]] = {
    "viewer": ("vera", "viewer"),
    "editor": ("anna", "editor"),
    "other editor": ("olaf", "editor"),
    "leaver": ("lena", "viewer"),
    "admin": ("root", "admin"),
}
"""Name and role of each."""


def study_text(name: str) -> str:
    return STUDY.format(name=name)


@dataclass(frozen=True)
class Template:
    file: Path
    tokens: dict[str, str]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Two studies that `run` has made, one of anna's that is queued, one of hers that is paused, and four tokens."""
    file = tmp_path_factory.mktemp("service") / "service.db"
    return Template(file, furnish(storage_url(f"sqlite:///{file}")))


def furnish(url: URL) -> dict[str, str]:
    """Put into a new database what the tests rely on; returns the token of each role."""
    storage = open_storage(url)
    upgrade(storage.engine)
    running = MadeTrial({"optimizer": "adamw", "lr": 0.01, "weight_decay": 1e-4, "activation": "relu", "width": 16,
                         "batch_size": 64, "augment": ("random_crop",)}, None, "RUNNING", 2,
                        history={"val_accuracy": [0.2, 0.3]})  # fmt: skip
    spec = make_spec(train={"epochs": 6})
    store_study(spec, [*random_trials(spec, 40), running], storage)
    front = make_spec(name="front", objective=[{"metric": "val_accuracy"}, {"metric": "seconds_per_epoch"}])
    store_study(front, random_trials(front, 12), storage)
    tokens = {}
    for role, (name, right) in ROLES.items():
        with storage.engine.begin() as connection:
            tokens[role] = create_token(connection, "root", name, right)[1]
    desk = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    desk.submit(study_text("queued"), notify=["https://example.org/secret-hook"])
    desk.submit(study_text("paused"))
    desk.pause("paused")
    close(storage)
    return tokens


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[URL]:
    """A copy of that storage, for the tests of one file: each that changes something uses names of its own."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ARTIFACTS_VARIABLE, str(folder / "storage" / "artifacts"))
        shutil.copy(template.file, folder / "service.db")
        yield storage_url(f"sqlite:///{folder / 'service.db'}")


@pytest.fixture(scope="module")
def storage(url: URL) -> Iterator[BatchStorage]:
    opened = open_storage(url)
    yield opened
    close(opened)


AppOf = Callable[..., FastAPI]


@pytest.fixture(scope="module")
def app_of(storage: BatchStorage, url: URL) -> AppOf:
    """The service with other settings than the default ones."""

    def make(**changes: object) -> FastAPI:
        return create_app(storage, url, replace(WebSettings(), **changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def app(app_of: AppOf) -> FastAPI:
    return app_of()


ClientOf = Callable[..., TestClient]
_ADDRESSES = itertools.count()


@pytest.fixture
def client_of(app: FastAPI, template: Template) -> ClientOf:
    """Somebody who asks, by role; None: nobody that is known. Each comes from an address of their own."""

    def client(role: str | None, on: FastAPI = app) -> TestClient:
        headers = {} if role is None else {"Authorization": f"Bearer {template.tokens[role]}"}
        address = f"127.1.{next(_ADDRESSES) % 250}.{next(_ADDRESSES) % 250}"
        return TestClient(on, "http://127.0.0.1", headers=headers, client=(address, 50_000), follow_redirects=False)

    return client


@pytest.fixture
def viewer(client_of: ClientOf) -> TestClient:
    return client_of("viewer")


@pytest.fixture
def editor(client_of: ClientOf) -> TestClient:
    """Anna, whose studies are in the storage."""
    return client_of("editor")


@pytest.fixture
def admin(client_of: ClientOf) -> TestClient:
    return client_of("admin")


@pytest.fixture
def nobody(client_of: ClientOf) -> TestClient:
    return client_of(None)


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nothing that the app keeps grows old by itself, and nobody's token is looked at again since time has passed."""
    here: Here = app.state.here
    clock = Clock()
    monkeypatch.setattr(here.door, "_passes", Passes(clock))
    here.answers = SharedAnswers(here.engine, here.door, clock)
    return clock
