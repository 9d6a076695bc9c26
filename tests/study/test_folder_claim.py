"""A study's checkpoints lie in a folder of its own, whatever happens to its name, its database and its namesakes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy import update
from sqlalchemy.engine import URL, make_url

from cifar_tune.dashboard.shown_storage import ShownStorage
from cifar_tune.errors import UserError
from cifar_tune.optuna_internals import study_id
from cifar_tune.optuna_tables import STUDIES
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import checkpoint_name
from cifar_tune.study import folder_claim
from cifar_tune.study.checkpoints import checkpoints_of, numbers_in, sweep
from cifar_tune.study.folder_claim import claim_folder, own_folder, remove_folder


class Database:
    """An SQLite file whose studies have checkpoints."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url: URL = make_url(f"sqlite:///{file}")
        self.storage: RDBStorage = open_storage(self.url)

    def claimed(self, name: str = "mine") -> tuple[Path, list[str]]:
        """What a run does at its beginning: the study is created if need be. Its checkpoints, and what is said."""
        study = optuna.create_study(study_name=name, storage=self.storage, load_if_exists=True)
        said = list(claim_folder(study, self.storage, self.url))
        return checkpoints_of(optuna.load_study(study_name=name, storage=self.storage)), said

    def own_folder(self, name: str) -> Path | None:
        study = optuna.load_study(study_name=name, storage=self.storage)
        return own_folder(name, study.user_attrs, self.storage, self.url)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "one.db")


def trained(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        (folder / checkpoint_name(number)).write_text(f"weights {number}")
    return folder


def test_the_same_study_has_the_same_folder(database: Database) -> None:
    folder, said = database.claimed()
    assert (database.claimed(), said) == ((folder, []), [])
    assert folder.parent.parent.name == "mine"


def test_studies_of_one_name_in_two_databases_do_not_meet(database: Database, tmp_path: Path) -> None:
    trained(database.claimed()[0], 1)
    other = Database(tmp_path / "two.db")
    folder, said = other.claimed()
    assert (numbers_in(folder), said) == ([], [])
    sweep(folder, set(), half_written=True)
    removed = other.own_folder("mine")
    assert removed is not None
    assert remove_folder(removed) == []
    assert numbers_in(database.claimed()[0]) == [1]


def deleted(database: Database) -> None:
    optuna.delete_study(study_name="mine", storage=database.storage)


def without_its_file(database: Database) -> None:
    close(database.storage)
    database.file.unlink()
    database.storage = open_storage(database.url)


@pytest.mark.parametrize("gone", [deleted, without_its_file])
def test_a_new_study_does_not_get_the_checkpoints_of_one_that_is_gone(
    database: Database, gone: Callable[[Database], None]
) -> None:
    former = trained(database.claimed()[0], 1)
    gone(database)
    folder, _ = database.claimed()
    sweep(folder, set(), half_written=True)
    assert numbers_in(folder) == []
    assert numbers_in(former) == [1]  # its database may come back
    assert database.claimed()[1] == [
        f"checkpoints of a study that this database does not have any more: {former.parent}; keep them if there is a "
        f"saved, moved or backed-up database with that study, which goes on from them; else they can be deleted"
    ]


def test_a_database_that_comes_back_finds_its_checkpoints(database: Database) -> None:
    former = trained(database.claimed()[0], 1)
    close(database.storage)
    backup = database.file.rename(database.file.with_name("backup.db"))
    again = Database(database.file)
    trained(again.claimed()[0], 7)
    close(again.storage)
    backup.rename(database.file)
    assert Database(database.file).claimed()[0] == former
    assert numbers_in(former) == [1]


def test_a_database_may_move(database: Database) -> None:
    former = trained(database.claimed()[0], 1)
    close(database.storage)
    moved = Database(database.file.rename(database.file.with_name("moved.db")))
    assert moved.claimed() == (former, [])
    assert moved.claimed() == (former, [])


def test_a_copied_database_shares_nothing(database: Database) -> None:
    former = trained(database.claimed()[0], 1, 2)
    close(database.storage)
    shutil.copy(database.file, database.file.with_name("two.db"))
    other = Database(database.file.with_name("two.db"))
    folder, said = other.claimed()
    assert said == [f"this study is a copy: it has taken over checkpoints from {former.parent}"]
    assert numbers_in(folder) == [1, 2]
    sweep(folder, {2})
    assert (numbers_in(folder), numbers_in(former)) == ([2], [1, 2])
    assert other.claimed() == (folder, [])
    assert Database(database.file).claimed() == (former, [])


def copy_within(database: Database) -> None:
    optuna.copy_study(
        from_study_name="mine", from_storage=database.storage, to_storage=database.storage, to_study_name="yours"
    )


def test_a_copied_study_has_its_own_checkpoints(database: Database) -> None:
    former = trained(database.claimed()[0], 1, 2)
    copy_within(database)
    for name in ("mine", "yours"):  # before the copy has run, deleting one takes nothing from the other
        assert database.own_folder(name) is None
    folder, said = database.claimed("yours")
    assert said == [f"this study is a copy: it has taken over checkpoints from {former.parent}"]
    assert (folder / checkpoint_name(2)).read_text() == "weights 2"
    trained(folder, 3)
    sweep(folder, {3})
    assert (numbers_in(folder), numbers_in(former)) == ([3], [1, 2])
    assert database.claimed("yours") == (folder, [])
    assert database.claimed() == (former, [])
    assert database.own_folder("mine") == former.parent
    assert database.own_folder("yours") == folder.parent


def test_a_run_that_is_killed_while_it_takes_checkpoints_over_does_it_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    trained(database.claimed()[0], 1, 2)
    copy_within(database)
    with monkeypatch.context() as patch:
        patch.setattr(folder_claim, "take_over", killed)
        with pytest.raises(KeyboardInterrupt):
            database.claimed("yours")
    assert numbers_in(database.claimed("yours")[0]) == [1, 2]


def by_one_statement(database: Database) -> None:
    with database.storage.engine.begin() as connection:
        connection.execute(update(STUDIES).values(study_name="yours"))


def as_the_dashboard_does(database: Database) -> None:
    shown = ShownStorage(database.storage, database.url)
    optuna.copy_study(from_study_name="mine", from_storage=shown, to_storage=shown, to_study_name="yours")
    shown.delete_study(study_id(optuna.load_study(study_name="mine", storage=shown)))


@pytest.mark.parametrize("rename", [by_one_statement, as_the_dashboard_does])
def test_a_renamed_study_keeps_its_checkpoints(database: Database, rename: Callable[[Database], None]) -> None:
    former = trained(database.claimed()[0], 1)
    rename(database)
    assert database.own_folder("yours") == former.parent
    folder, said = database.claimed("yours")
    assert (numbers_in(folder), said) == ([1], [])
    assert not former.parent.parent.exists()
    assert folder.parent.parent.name == "yours"


def test_the_dashboard_deletes_checkpoints_with_their_study(database: Database) -> None:
    former = trained(database.claimed()[0], 1)
    shown = ShownStorage(database.storage, database.url)
    shown.delete_study(study_id(optuna.load_study(study_name="mine", storage=shown)))
    assert not former.parent.parent.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"study": 1}', "\x00", '{"storage": "sqlite:///nowhere.db"}'])
def test_a_spoiled_mark_is_written_anew(database: Database, content: str) -> None:
    folder, _ = database.claimed()
    mark = folder.parent / "study.json"
    before = mark.read_text()
    assert "one.db" in before
    mark.write_text(content)
    assert database.claimed() == (folder, [])
    assert mark.read_text() == before


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_not_read_and_not_written_through(database: Database, tmp_path: Path, kind: str) -> None:
    folder, _ = database.claimed()
    mark = folder.parent / "study.json"
    mark.unlink()
    (tmp_path / "precious.txt").write_text("mine")
    match kind:
        case "link":
            mark.symlink_to(tmp_path / "precious.txt")
        case "pipe":
            os.mkfifo(mark)
        case "folder":
            mark.mkdir()
    there, said = database.claimed()
    assert there == folder
    if kind == "folder":
        assert said == [f"checkpoints cannot be written: Is a directory: {mark}; training goes on without them"]
    else:
        assert (said, mark.is_symlink(), mark.is_file()) == ([], False, True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_links_are_not_taken_over_as_checkpoints(database: Database, tmp_path: Path) -> None:
    former = trained(database.claimed()[0], 1)
    (tmp_path / "precious.txt").write_text("mine")
    (former / checkpoint_name(2)).symlink_to(tmp_path / "precious.txt")
    os.mkfifo(former / checkpoint_name(3))
    copy_within(database)
    assert numbers_in(database.claimed("yours")[0]) == [1]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_link_in_the_place_of_a_folder_is_refused(database: Database, tmp_path: Path, depth: int) -> None:
    folder, _ = database.claimed()
    place = [folder.parent.parent, folder.parent, folder][depth]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{place}: is a link, to {tmp_path}/elsewhere, and checkpoints are kept in"):
        database.claimed()


@pytest.mark.parametrize("identity", ["../../..", "*", "", 5, None, "g" * 32])
def test_an_identity_that_another_program_made_up_is_replaced(database: Database, identity: object) -> None:
    study = optuna.create_study(study_name="mine", storage=database.storage)
    study.set_user_attr(attributes.IDENTITY, identity)
    assert database.own_folder("mine") is None
    folder, said = database.claimed()
    assert said == []
    assert len(folder.parent.name) == 32
    assert database.claimed() == (folder, [])


def test_it_may_be_a_copy_of_a_database_that_cannot_be_read(database: Database) -> None:
    folder, _ = database.claimed()
    close(database.storage)
    moved = database.file.rename(database.file.with_name("moved.db"))
    database.file.write_text("no database")
    assert Database(moved).claimed() == (folder, [])
