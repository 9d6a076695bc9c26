"""Numbers of trials that are kept, and those that the database counts."""

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import update

from cifar_tune import optuna_counts
from cifar_tune.optuna_questions import ids_of_studies, states_of_studies
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import TRIALS
from cifar_tune.storage import attributes, counts
from cifar_tune.storage.counts import TrialCounts
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url


def counted(storage: BatchStorage) -> dict[int, dict[str, int]]:
    ids = ids_of_studies(storage.engine).values()
    found = states_of_studies(storage.engine, ids)
    return {each: dict(sorted((state.name, n) for state, n in found.get(each, {}).items())) for each in ids}


def looked(kept: TrialCounts) -> dict[int, dict[str, int]]:
    look = kept.look()
    return {each: dict(found) for each, found in look.counts_of(list(look.ids.values())).items()}


@pytest.mark.parametrize("has_identity", [True, False])
def test_what_is_kept_is_what_there_is_whatever_is_run_ended_and_deleted(has_identity: bool, tmp_path: Path) -> None:
    """SQLite gives the ids of deleted studies and of their trials again, also to studies that stay."""
    draw = random.Random(3)  # noqa: S311 (no secret)
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'counts.db'}"))
    kept = TrialCounts(storage.engine)
    running: list[tuple[str, optuna.Trial]] = []
    made = 0
    for _ in range(150):
        names = [study.study_name for study in optuna.get_all_study_summaries(storage)]
        kind = draw.choice(["study", "delete", "ended", "ended", "ask", "ask", "tell", "tell", "enqueue"])
        if kind == "study" or not names:
            made += 1
            study = optuna.create_study(study_name=f"s{made}", storage=storage)
            if has_identity:
                study.set_user_attr(attributes.IDENTITY, str(made))
        elif kind == "tell" and running:
            _, trial = running.pop(draw.randrange(len(running)))
            trial.study.tell(trial, state=draw.choice([TrialState.FAIL, TrialState.PRUNED]))
        else:
            name = draw.choice(names)
            study = optuna.load_study(study_name=name, storage=storage)
            if kind == "delete":
                optuna.delete_study(study_name=name, storage=storage)
                running = [each for each in running if each[0] != name]
            elif kind == "ended":
                study.add_trials([create_trial(value=1.0)] * draw.randint(1, 5))
            elif kind == "enqueue":
                study.enqueue_trial({"x": 1.0})
            else:
                running.append((name, study.ask()))
        if draw.random() < 0.6:
            assert looked(kept) == counted(storage)
    close(storage)


@pytest.mark.parametrize("has_identity", [True, False])
def test_trials_with_the_ids_of_deleted_ones_are_counted(has_identity: bool, tmp_path: Path) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'counts.db'}"))
    studies = [optuna.create_study(study_name=name, storage=storage) for name in ("stays", "goes")]
    for study in studies:
        if has_identity:
            study.set_user_attr(attributes.IDENTITY, study.study_name)
        study.add_trials([create_trial(value=1.0)] * 2)
    kept = TrialCounts(storage.engine)
    for _ in range(2):
        assert looked(kept) == {1: {"COMPLETE": 2}, 2: {"COMPLETE": 2}}
    optuna.delete_study(study_name="goes", storage=storage)
    studies[0].add_trials([create_trial(value=1.0)] * 2)
    assert looked(kept) == counted(storage) == {1: {"COMPLETE": 4}}
    anew = optuna.create_study(study_name="goes", storage=storage)
    if has_identity:
        anew.set_user_attr(attributes.IDENTITY, "another")
    anew.add_trial(create_trial(state=TrialState.FAIL))
    assert looked(kept) == {1: {"COMPLETE": 4}, 2: {"FAIL": 1}}
    close(storage)


def test_a_study_that_came_during_one_look_and_is_gone_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'counts.db'}"))
    stays = optuna.create_study(study_name="stays", storage=storage)
    stays.set_user_attr(attributes.IDENTITY, "1")
    stays.add_trial(create_trial(value=1.0))
    kept = TrialCounts(storage.engine)
    assert looked(kept) == looked(kept) == {1: {"COMPLETE": 1}}

    def after_another(*given: Any) -> object:
        monkeypatch.undo()
        optuna.create_study(study_name="short", storage=storage).add_trial(create_trial(value=1.0))
        return optuna_counts.count_since(*given)

    monkeypatch.setattr(counts, "count_since", after_another)
    assert looked(kept) == {1: {"COMPLETE": 1}}
    optuna.delete_study(study_name="short", storage=storage)
    stays.add_trial(create_trial(value=1.0))  # it gets the id of the other one
    assert looked(kept) == {1: {"COMPLETE": 2}}
    close(storage)


def test_trials_that_have_ended_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'counts.db'}"))
    study = optuna.create_study(study_name="one", storage=storage)
    study.add_trials([create_trial(value=1.0)] * 3)
    kept = TrialCounts(storage.engine)
    asked: list[int] = []

    def count_all(*args: object) -> object:
        asked.append(1)
        return optuna_counts.count_all(storage.engine)

    monkeypatch.setattr(counts, "count_all", count_all)
    for expected in (3, 4, 5):
        assert looked(kept) == {1: {"COMPLETE": expected}}
        study.add_trial(create_trial(value=1.0))
    assert asked == [1]  # the first look counts those alone that are asked for
    with storage.engine.begin() as connection:  # a hand that removes a trial from the database
        connection.execute(TRIALS.delete().where(TRIALS.c.trial_id == 2))
    assert looked(kept) == {1: {"COMPLETE": 5}}
    assert asked == [1, 1]
    monkeypatch.setattr(counts, "_MOST_UNFINISHED", 0)
    study.ask()
    assert looked(kept) == looked(kept) == {1: {"COMPLETE": 5, "RUNNING": 1}}
    close(storage)


def test_a_damaged_state_is_no_matter_to_those_who_do_not_ask_for_that_study(tmp_path: Path) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'counts.db'}"))
    for name in ("sound", "damaged"):
        optuna.create_study(study_name=name, storage=storage).add_trial(create_trial(value=1.0))
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trials SET state = 'ODD' WHERE study_id = 2")
    kept = TrialCounts(storage.engine)
    for _ in range(3):
        look = kept.look()
        assert look.counts_of([1]) == look.counts_of([1, 2]) == {1: {"COMPLETE": 1}}
    with storage.engine.begin() as connection:
        connection.execute(update(TRIALS).values(state=TrialState.FAIL))
    assert looked(kept) == {1: {"FAIL": 1}, 2: {"FAIL": 1}}
    close(storage)
