"""A study that begins is there as a whole, or not at all."""

from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.versions import copy_name, name_new
from cifar_tune.study import opening
from cifar_tune.study.opening import create, open_study
from tests.meanwhile import at_each_moment

from .conftest import RunStudy, spec_of
from .three_knobs import PLAIN


def test_whoever_looks_at_any_moment_finds_no_study_or_a_whole_one(storage: BatchStorage, data: PreparedData) -> None:
    """Not one without specification, which would pass for that of another program."""
    other, spec = open_storage(storage.engine.url), spec_of(PLAIN)
    seen: list[list[tuple[Any, ...]]] = []

    def look() -> None:
        records = [load_record(other, name) for name in study_names(other)]
        seen.append([(each.name, each.spec, each.data["val_images"], bool(each.identity)) for each in records])

    for study in at_each_moment(storage.engine, look, lambda: open_study(storage, spec, data)):
        assert study.study_name == "test"
    whole = [("test", spec, len(data.val_indices), True)]
    assert seen[0] == []
    assert seen[-1] == whole
    assert all(each in ([], whole) for each in seen)
    assert optuna.get_all_study_names(storage) == ["test"]
    close(other)


def test_what_a_killed_run_left_of_its_beginning_is_removed(storage: RDBStorage, run_scripted: RunStudy) -> None:
    """Also where it was of another direction; nothing had begun, so there is nothing to say of it."""
    left = create(storage, spec_of(PLAIN | {"objective": {"metric": "val_loss"}}), copy_name("test"))
    left.set_user_attr(attributes.SPEC, {})
    ending, record, watched = run_scripted(PLAIN)
    assert (ending, record.finished, record.study.direction.name) == ("budget", 6, "MAXIMIZE")
    assert optuna.get_all_study_names(storage) == ["test"]
    assert not [note for note in watched.notes if "evolve" in note]


def test_a_name_that_another_program_takes_meanwhile_stays_its_own(
    storage: BatchStorage, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was about to begin leaves nothing."""

    def too_late(*arguments: Any) -> None:
        optuna.create_study(study_name="test", storage=storage)
        name_new(*arguments)

    monkeypatch.setattr(opening, "name_new", too_late)
    with pytest.raises(CheckError, match="another program has made a study 'test' at this moment; use another name"):
        open_study(storage, spec_of(PLAIN), data)
    assert optuna.get_all_study_names(storage) == ["test"]
    assert not optuna.load_study(study_name="test", storage=storage).user_attrs


def test_a_beginning_that_somebody_took_over_is_not_named_twice(storage: BatchStorage) -> None:
    with pytest.raises(CheckError, match="another run has taken over the study 'test'"):
        name_new(storage, "test")
