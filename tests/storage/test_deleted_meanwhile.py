"""Studies that somebody deletes while a command reads them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from optuna import delete_study
from sqlalchemy.engine import URL

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.kept_importances import KeptImportances
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import read_study_attributes, study_names
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.evolving import previewed
from cifar_tune.study.live import live
from cifar_tune.study.opening import stored_study, with_its_defaults
from cifar_tune.study.status import described
from tests.meanwhile import at_each_moment
from tests.reports.factory import make_spec, random_trials, store_study

NAME = "goes"


def status(storage: BatchStorage) -> Any:
    return described(storage, overview(storage, NAME))


def watched(storage: BatchStorage) -> Any:
    return live(storage, overview(storage, NAME, 5))


def attributes_alone(storage: BatchStorage) -> Any:
    return read_study_attributes(storage, NAME)


def record(storage: BatchStorage) -> Any:
    return load_record(storage, NAME)


def importances(storage: BatchStorage) -> Any:
    return KeptImportances(storage, Lock()).get(1, NAME, "x", 5)


@pytest.fixture
def url(tmp_path: Path) -> URL:
    return storage_url(f"sqlite:///{tmp_path / 'studies.db'}")


@pytest.fixture
def storage(url: URL) -> Iterator[BatchStorage]:
    opened = open_storage(url)
    store(opened, NAME)
    store(opened, "stays")  # so that no id is given again
    yield opened
    close(opened)


def store(storage: BatchStorage, name: str) -> None:
    spec = make_spec(name=name)
    store_study(spec, random_trials(spec, 5), storage)


def defaults(storage: BatchStorage) -> Any:
    return with_its_defaults(storage, make_spec(name=NAME))


def comparison(storage: BatchStorage) -> Any:
    return stored_study(storage, make_spec(name=NAME)) or "no study"


def preview(storage: BatchStorage) -> Any:
    return previewed(storage, make_spec(name=NAME, budget={"trials": 77}, objective={"metric": "val_accuracy"}))


@pytest.mark.parametrize("is_run_anew", [False, True], ids=["deleted", "run anew"])
@pytest.mark.parametrize(
    "read", [status, watched, attributes_alone, record, importances, defaults, comparison, preview]
)
def test_whoever_reads_a_deleted_study_is_told_so(
    read: Callable[[BatchStorage], Any], is_run_anew: bool, storage: BatchStorage, url: URL
) -> None:
    other = open_storage(url)

    def happens() -> None:
        delete_study(study_name=NAME, storage=other)
        if is_run_anew:
            store(other, NAME)

    def found() -> str:
        try:
            assert read(storage) is not None
        except UserError as error:
            return str(error)
        return ""

    *disturbed, whole = at_each_moment(storage.engine, happens, found)
    assert whole == ""
    gone = f"the storage has no study '{NAME}'; it holds stays"
    allowed = {f"the study '{NAME}' was deleted or renamed a moment ago"} if is_run_anew else {gone}
    assert set(disturbed) <= {"", *allowed}
    assert allowed <= set(disturbed)
    assert study_names(storage) == [NAME, "stays"]
    close(other)
