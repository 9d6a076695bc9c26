"""A storage with a study in it, a dashboard that serves it, and a browser to look at it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from selenium.webdriver import Chrome
from sqlalchemy.engine import URL, make_url

from cifar_tune.dashboard.serve import Dashboard, open_dashboard
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from tests.browser import chromium
from tests.waiting import PATIENCE

STUDY = "digits-lr"
TRIALS = (("COMPLETE", 0.8125), ("PRUNED", 0.4375), ("COMPLETE", 0.9375), ("FAIL", None))


@pytest.fixture(scope="session")
def studies_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with one study of four trials, to be copied."""
    file = tmp_path_factory.mktemp("dashboard") / "studies.db"
    storage = open_storage(make_url(f"sqlite:///{file}"))
    study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    study.set_metric_names(["val_accuracy"])
    for index, (state, value) in enumerate(TRIALS):
        study.add_trial(
            create_trial(
                state=TrialState[state],
                value=value,
                params={"lr": 0.01 * (index + 1), "optimizer": "sgd"},
                distributions={
                    "lr": FloatDistribution(1e-3, 1.0, log=True),
                    "optimizer": CategoricalDistribution(["sgd", "adamw"]),
                },
                intermediate_values={} if value is None else {1: value / 2, 2: value},
                user_attrs={"config": {"model": "simple_nn"}},
            )
        )
    close(storage)
    return file


@pytest.fixture
def url(tmp_path: Path, studies_file: Path, monkeypatch: pytest.MonkeyPatch) -> URL:
    """A storage with one study of four trials."""
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "artifacts"))
    file = tmp_path / "studies.db"
    shutil.copyfile(studies_file, file)
    return make_url(f"sqlite:///{file}")


@pytest.fixture(autouse=True)
def dashboards_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests begin one of their own."""
    monkeypatch.setattr("cifar_tune.dashboard.serve._LOOK_SECONDS", 0.01)


@contextmanager
def serving(url: URL) -> Iterator[Dashboard]:
    """A dashboard that answers, on a port of its own."""
    dashboard = open_dashboard(url, port=0)
    thread = threading.Thread(target=dashboard.serve_forever)
    thread.start()
    yield dashboard
    dashboard.shutdown()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def dashboard(url: URL) -> Iterator[Dashboard]:
    with serving(url) as dashboard:
        yield dashboard


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A Chromium with a fresh profile; every dashboard has an origin of its own."""
    with chromium(tmp_path_factory.mktemp("dashboard") / "profile") as browser:
        yield browser
