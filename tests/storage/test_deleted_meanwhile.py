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
from cifar_tune.study.live import live
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
    spec = make_spec(name=NAME)
    store_study(spec, random_trials(spec, 5), opened)
    store_study(make_spec(name="stays"), [], opened)
    yield opened
    close(opened)


@pytest.mark.parametrize("read", [status, watched, attributes_alone, record, importances])
def test_whoever_reads_a_deleted_study_is_told_so(
    read: Callable[[BatchStorage], Any], storage: BatchStorage, url: URL
) -> None:
    other = open_storage(url)

    def found() -> str:
        try:
            assert read(storage) is not None
        except UserError as error:
            return str(error)
        return ""

    *disturbed, whole = at_each_moment(storage.engine, lambda: delete_study(study_name=NAME, storage=other), found)
    assert whole == ""
    assert disturbed[0] == f"the storage has no study '{NAME}'; it holds stays"
    assert set(disturbed) <= {disturbed[0], ""}
    assert study_names(storage) == [NAME, "stays"]
    close(other)
