"""Studies of one name in two databases do not share a folder of checkpoints."""

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy.engine import URL, make_url

from cifar_tune.errors import UserError
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.urls import study_folder
from cifar_tune.study.folder_claim import claim_folder, is_claimed_by_another


def url_of(folder: Path, name: str) -> URL:
    return make_url(f"sqlite:///{folder}/{name}.db")


def study_in(url: URL) -> optuna.Study:
    return optuna.create_study(study_name="mine", storage=open_storage(url), load_if_exists=True)


def test_another_database_is_refused_and_named(tmp_path: Path) -> None:
    one, two = url_of(tmp_path, "one"), url_of(tmp_path, "two")
    first, second = study_in(one), study_in(two)
    claim_folder(first, one)
    claim_folder(first, one)
    with pytest.raises(UserError) as refused:
        claim_folder(second, two)
    assert f"holds the checkpoints of another study of that name, in sqlite:///{tmp_path}/one.db" in str(refused.value)
    assert "--set name=" in str(refused.value)
    assert (is_claimed_by_another(first), is_claimed_by_another(second)) == (False, True)


def test_a_database_may_move(tmp_path: Path) -> None:
    one, two = url_of(tmp_path, "one"), url_of(tmp_path, "two")
    claim_folder(study_in(one), one)
    with closing(sqlite3.connect(str(one.database))) as old, closing(sqlite3.connect(str(two.database))) as new:
        old.backup(new)
    moved = study_in(two)
    claim_folder(moved, two)
    assert not is_claimed_by_another(moved)


def test_the_folder_of_a_study_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    one, two = url_of(tmp_path, "one"), url_of(tmp_path, "two")
    claim_folder(study_in(one), one)
    optuna.delete_study(study_name="mine", storage=open_storage(one))
    claim_folder(study_in(one), one)  # another one, in the same database
    Path(str(one.database)).unlink()
    claim_folder(study_in(two), two)
    assert not is_claimed_by_another(study_in(two))


@pytest.mark.parametrize("content", ["", "[]", '{"study": 1}', "\x00"])
def test_a_spoiled_mark_is_written_anew(tmp_path: Path, content: str) -> None:
    one = url_of(tmp_path, "one")
    study = study_in(one)
    claim_folder(study, one)
    (study_folder("mine") / "study.json").write_text(content)
    claim_folder(study, one)
    assert not is_claimed_by_another(study)
    assert "one.db" in (study_folder("mine") / "study.json").read_text()
