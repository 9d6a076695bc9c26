"""An SQLite file that goes away in mid-run: the run ends, says what happened, and nothing is lost."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from cifar_tune.errors import CheckError
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.opened_file import DatabaseGoneError, OpenedFile
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.exhaustive import few_of
from tests.processes import Program, start_cifar_tune
from tests.study.test_copies import URL, Place
from tests.waiting import PATIENCE, read_until


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With a database that holds no study yet."""
    monkeypatch.delenv("CIFAR_TUNE_ARTIFACTS")
    (tmp_path / "db").mkdir()
    close(open_storage(storage_url(f"sqlite:///{tmp_path}/db/studies.db")))
    return Place(tmp_path, "sqlite:///db/studies.db")


def running(place: Place) -> Program:
    """A run whose trial has one epoch, and waits."""
    place.gate.let(1)
    process = start_cifar_tune(("run", "long.yaml"), place.path, place.environment)
    place.wait_for_epochs("long", 1)
    return process


def begun_in_a_new_file(place: Place) -> Program:
    """The same with a database that the run makes, and that no other program has opened before."""
    removed(place)
    place.gate.let(1)
    process = start_cifar_tune(("run", "long.yaml"), place.path, place.environment)
    read_until(process, "trial 0: ")
    place.wait_for_epochs("long", 1)
    return process


def goes_on(place: Place, url: str) -> None:
    """Whether the trial is taken up where it was, by the study that was there."""
    place.environment["CIFAR_TUNE_STORAGE"] = url
    place.gate.open()
    code, _, err = place.call("run", "long")
    assert code == 0, err
    assert "trial 0 goes on after epoch " in err
    assert "long" in optuna.get_all_study_names(RDBStorage(url.replace("///", f"///{place.path}/", 1)))


def removed(place: Place) -> None:
    for file in (place.path / "db").iterdir():
        file.unlink()


def removed_alone(place: Place) -> None:
    (place.path / "db" / "studies.db").unlink()


def replaced(place: Place) -> None:
    shutil.copy(place.path / "db" / "studies.db", place.path / "other.db")
    (place.path / "other.db").rename(place.path / "db" / "studies.db")


def with_its_folder(place: Place) -> None:
    shutil.rmtree(place.path / "db")


WAYS = (
    (running, removed, "was removed"),
    (running, removed_alone, "was removed"),
    (running, replaced, "was replaced by another file"),
    (running, with_its_folder, "was removed"),
    (begun_in_a_new_file, removed_alone, "was removed"),
    (begun_in_a_new_file, replaced, "was replaced by another file"),
)


@pytest.mark.parametrize(("begun", "how", "words"), few_of(WAYS, (WAYS[0], WAYS[-1])))
def test_what_it_held_is_saved(
    place: Place,
    begun: Callable[[Place], Program],
    how: Callable[[Place], None],
    words: str,
) -> None:
    process = begun(place)
    how(place)
    place.gate.let(1)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert f"cifar-tune: the database db/studies.db {words} while it was in use; what it held is saved in " in err
    found = re.search(r"go on with --storage sqlite:///(\S+rescued-\S+\.db), or put it in its place", err)
    assert found is not None
    rescued = Path(found.group(1))
    assert rescued.parent == (place.path if how is with_its_folder else place.path / "db")
    assert "Traceback" not in err
    assert (place.path / "db" / "studies.db").exists() == (how is replaced)
    if how is not replaced:  # a log that is left would be applied to the file that takes this place
        assert list(rescued.parent.glob("studies.db-*")) == []
    goes_on(place, f"sqlite:///{rescued.relative_to(place.path)}")


def test_a_moved_folder_is_named_and_has_everything(place: Place) -> None:
    process = running(place)
    (place.path / "db").rename(place.path / "moved")
    place.gate.let(1)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert (
        f"cifar-tune: the database db/studies.db was moved to {place.path}/moved/studies.db while it was in use; "
        f"nothing is lost: go on with --storage sqlite:///{place.path}/moved/studies.db\n"
    ) in err
    assert not (place.path / "db").exists()
    assert [file.name for file in (place.path / "moved").iterdir() if "rescued" in file.name] == []
    goes_on(place, "sqlite:///moved/studies.db")


def test_no_command_writes_into_a_file_that_nobody_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(storage_url(URL))
    lease = acquire(storage.engine, "x")
    (tmp_path / "studies.db").unlink()
    for use in (lease.renew, lease.release, lambda: optuna.create_study(study_name="x", storage=storage)):
        with pytest.raises(DatabaseGoneError, match=r"the database .* was removed while it was in use"):
            use()
    lease.release_or_leave()
    with pytest.raises(CheckError), lease.kept():
        lease.renew()
    storage.engine.dispose()  # new connections do not make it again
    with pytest.raises(DatabaseGoneError):
        optuna.get_all_study_names(storage)
    assert [file.name for file in tmp_path.iterdir() if file.name == "studies.db"] == []
    close(storage)


def test_a_file_that_comes_back_is_used_again(tmp_path: Path) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path}/studies.db"))
    optuna.create_study(study_name="x", storage=storage)
    (tmp_path / "studies.db").rename(tmp_path / "away.db")
    with pytest.raises(DatabaseGoneError, match=f"was moved to {tmp_path}/away.db"):
        optuna.get_all_study_names(storage)
    (tmp_path / "away.db").rename(tmp_path / "studies.db")
    assert optuna.get_all_study_names(storage) == ["x"]
    close(storage)


def test_the_saved_file_can_take_the_old_place(tmp_path: Path) -> None:
    url = storage_url(f"sqlite:///{tmp_path}/studies.db")
    storage = open_storage(url)
    optuna.create_study(study_name="x", storage=storage)
    (tmp_path / "studies.db").unlink()
    with pytest.raises(DatabaseGoneError) as caught:
        optuna.get_all_study_names(storage)
    caught.value.file.rescue()
    second = caught.value.file.rescue()  # another process that saves it in the same second
    close(storage)
    saved = sorted(tmp_path.iterdir())
    assert len(saved) == 2
    assert str(saved[1]) in second or str(saved[0]) in second
    for file in saved:
        file.rename(tmp_path / "studies.db")
        storage = open_storage(url)
        assert optuna.get_all_study_names(storage) == ["x"]
        close(storage)


def test_what_cannot_be_saved_leaves_no_empty_file_and_names_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "artifacts").mkdir()
    file = tmp_path / "studies.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE kept (value)")
        opened = OpenedFile(file)  # before the file has its write-ahead log, which SQLite cannot open any more later
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.commit()
        file.unlink()
        assert opened.rescue() == (
            f"; what it held could not be saved either (disk I/O error); keep what is still there ({file}-wal and the "
            f"checkpoints in {tmp_path}/artifacts) and restore the database from a backup if you have one"
        )
        assert list(tmp_path.glob("*rescued*")) == []
        assert Path(f"{file}-wal").exists()
