"""What happens in memory stands in the database, whatever happens to the way there."""

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from sqlalchemy import event

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import writer
from cifar_tune.storage.write_behind import WriteBehindStorage
from tests.exhaustive import few_of
from tests.storage.flaky import Flaky
from tests.storage.in_memory import assert_same, in_memory, lose_commits, told
from tests.waiting import PATIENCE, wait_until


def test_everything_arrives(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(memory)
    told(study)
    study.set_user_attr("elapsed", 1.5)
    running = study.ask()
    running.suggest_float("lr", 1e-4, 1.0, log=True)
    assert_same(memory, rdb)
    running.report(0.5, 1)
    assert_same(memory, rdb)
    study.set_user_attr("elapsed", 2.5)
    running.set_user_attr("seconds", 1)
    running.set_user_attr("seconds", 2)
    study.tell(running, state=TrialState.PRUNED)
    assert_same(memory, rdb)


def test_a_trial_that_began_and_ended_at_once_is_one_write(flaky: Flaky) -> None:
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=PATIENCE, look=0.0, rewrite=0.0)
    told(in_memory(storage), epochs=30)
    storage.admit_others(PATIENCE)  # it does not linger where somebody waits
    assert storage.flush(PATIENCE)
    storage.close()
    assert [call for call in flaky.calls if call.startswith(("create", "set"))] == ["create_numbered"]


def test_what_is_there_already_is_taken_over(rdb: BatchStorage) -> None:
    told(in_memory(rdb))
    in_memory(rdb).set_user_attr("spec", {"name": "s"})
    parked = in_memory(rdb).ask()
    rdb.set_trial_state_values(parked._trial_id, TrialState.WAITING)
    storage = WriteBehindStorage(rdb, "s", linger=0.01, look=0.0, rewrite=0.0)
    try:
        study = in_memory(storage)
        assert study.user_attrs == {"spec": {"name": "s"}}
        again = study.ask()
        assert again.number == parked.number
        again.report(0.3, 1)
        study.tell(again, 0.3)
        assert_same(storage, rdb)
        assert study.best_trial.number in {0, parked.number}
    finally:
        storage.close()


def test_a_parked_trial_is_written_as_waiting(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    trial = in_memory(memory).ask()
    assert memory.flush(PATIENCE)
    memory.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    assert_same(memory, rdb)


def test_a_verdict_and_its_rung_are_written_at_once_before_the_end(memory: WriteBehindStorage, flaky: Flaky) -> None:
    """Successive halving gives its verdict once: killed in between, the next run must know of it."""
    study = in_memory(memory)
    trial = study.ask()
    assert memory.flush(PATIENCE)
    flaky.calls.clear()
    with memory.together():
        trial.report(0.1, 1)
        memory.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.1)
        time.sleep(0.1)
        trial.set_user_attr("pruned_at", 1)
        study.tell(trial, state=TrialState.PRUNED)
    assert memory.flush(PATIENCE)
    changes = [call for call in flaky.calls if call.startswith(("set", "add"))]
    assert changes == ["add_to_trial", "set_trial_state_values"]


def test_while_trials_are_held_none_is_written_but_the_guard_is_called(rdb: BatchStorage) -> None:
    calls: list[float] = []
    storage = WriteBehindStorage(rdb, "s", lambda: calls.append(time.monotonic()), linger=0.01, look=0.0, rewrite=0.0)
    study = in_memory(storage)
    with storage.together():
        trial = study.ask()
        trial.suggest_float("lr", 1e-4, 1.0, log=True)
        calls.clear()
        wait_until(lambda: bool(calls))
        assert not storage.flush(0.1)
        trial.suggest_float("momentum", 0.0, 1.0)
        assert in_memory(rdb).trials == []
    assert_same(storage, rdb)
    storage.close()


@pytest.fixture
def patient(flaky: Flaky) -> Iterator[WriteBehindStorage]:
    """The study in memory, whose running trials are next to never written again."""
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=0.01, look=0.0, rewrite=1000.0)
    yield storage
    storage.close()


def test_a_trial_that_runs_is_written_now_and_then(patient: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(patient)
    trial = study.ask()
    assert patient.flush(PATIENCE)
    trial.report(0.1, 1)
    assert not patient.flush(0.3)
    assert rdb.get_all_trials(rdb.get_study_id_from_name("s"))[0].intermediate_values == {}
    patient.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.1)  # no checkpoint holds it
    assert patient.flush(PATIENCE)
    trial.report(0.2, 2)
    assert not patient.flush(0.3)
    patient.set_trial_state_values(trial._trial_id, TrialState.WAITING)  # it is parked
    assert patient.flush(PATIENCE)
    assert_same(patient, rdb)


def test_what_waits_to_be_written_holds_up_nobody(patient: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(patient)
    trial = study.ask()
    assert patient.flush(PATIENCE)
    trial.report(0.1, 1)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    assert [each.number for each in patient.admit_others(PATIENCE)] == [1]
    told(study)
    study.tell(trial, 0.1)
    assert patient.flush(PATIENCE)
    assert_same(patient, rdb)


def test_a_report_of_another_program_gives_way_to_ours(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    """Such as a process of plain Optuna that does not know that its trial was taken up by others."""
    trial = in_memory(memory).ask()
    assert memory.flush(PATIENCE)
    rdb.set_trial_intermediate_value(rdb.get_all_trials(rdb.get_study_id_from_name("s"))[0]._trial_id, 1, 0.9)
    trial.report(0.1, 1)
    trial.report(0.2, 2)
    assert memory.flush(PATIENCE)
    assert memory.outage is None
    assert_same(memory, rdb)


def test_an_outage_loses_nothing(memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky) -> None:
    study = in_memory(memory)
    begun = study.ask()
    assert memory.flush(PATIENCE)
    flaky.down = True
    begun.report(0.4, 1)
    study.tell(begun, 0.4)
    told(study)
    study.set_user_attr("elapsed", 3.0)
    wait_until(lambda: memory.outage is not None)
    assert not memory.flush(0.1)
    assert "the server is gone" in str(memory.outage)
    assert memory.is_behind
    assert memory.unwritten() == {0, 1}
    flaky.down = False
    assert_same(memory, rdb)
    assert memory.unwritten() == frozenset()


@pytest.mark.parametrize("lost", few_of(range(1, 9), [1, 4, 8]))
def test_a_write_whose_answer_was_lost_is_not_written_twice(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, lost: int
) -> None:
    study = in_memory(memory)
    begun = study.ask()
    assert memory.flush(PATIENCE)
    flaky.answer_lost = lost
    begun.suggest_float("lr", 1e-4, 1.0, log=True)
    begun.report(0.4, 1)
    begun.set_user_attr("a", 1)
    study.tell(begun, 0.4)
    told(study)
    assert_same(memory, rdb)


def test_a_new_trial_whose_answer_is_lost_deep_inside_is_there_once(
    memory: WriteBehindStorage, rdb: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's own storage would send it again, and nobody would know the first one."""
    told(in_memory(memory))
    assert memory.flush(PATIENCE)
    said: list[str] = []
    commit = rdb.engine.dialect.do_commit

    def look(*details: Any) -> None:
        said.extend(["sent"] if details[2].startswith("INSERT INTO trials") else [])

    def committed_without_answer(connection: Any) -> None:
        commit(connection)
        if said == ["sent"]:
            said.append("lost")
            raise rdb.engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    event.listen(rdb.engine, "after_cursor_execute", look)
    monkeypatch.setattr(rdb.engine.dialect, "do_commit", committed_without_answer)
    with memory.together():
        trial = in_memory(memory).ask()
        trial.set_user_attr("config", {"lr": 0.1})
    assert memory.flush(PATIENCE)
    assert said == ["sent", "lost"]
    assert memory.admit_others(PATIENCE) == []
    in_memory(memory).tell(trial, 0.5)
    assert_same(memory, rdb)


@pytest.mark.parametrize("is_noticed", [True, False], ids=["an error", "no error"])
@pytest.mark.parametrize("last", ["running", "gone"])
def test_what_a_database_lost_is_written_again(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, is_noticed: bool, last: str
) -> None:
    study = in_memory(memory)
    study.set_user_attr("elapsed", 3.0)
    for _ in range(3):
        told(study)
    assert memory.flush(PATIENCE)
    flaky.down = is_noticed
    if is_noticed:
        study.set_user_attr("another", 1)
        wait_until(lambda: memory.outage is not None)
    lose_commits(rdb, {1: "running", 2: last})
    flaky.down = False
    if not is_noticed:
        with rdb.engine.connect() as connection:
            connection.invalidate()
    assert_same(memory, rdb)
    assert in_memory(rdb).user_attrs["elapsed"] == 3.0
    assert [trial.value for trial in in_memory(rdb).trials] == [0.1 * 3] * 3


def test_a_database_that_says_nothing_is_away(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_SILENT_SECONDS", 0.1)
    flaky.answers.clear()
    in_memory(memory).ask()
    wait_until(lambda: memory.outage is not None)
    assert memory.outage is not None
    assert "it has not answered for" in memory.outage.words
    assert memory.is_behind, "nothing new should begin"
    monkeypatch.setattr(writer, "_SILENT_SECONDS", PATIENCE)
    flaky.answers.set()
    assert_same(memory, rdb)
    assert memory.outage is None


def test_a_value_changed_by_its_owner_after_it_was_set_is_not_written(
    memory: WriteBehindStorage, rdb: BatchStorage
) -> None:
    resumed = [3]
    trial = in_memory(memory).ask()
    trial.set_user_attr("resumed_from", resumed)
    assert memory.flush(PATIENCE)
    resumed.append(5)
    trial.set_user_attr("resumed_from", resumed)
    assert_same(memory, rdb)
    assert in_memory(rdb).trials[0].user_attrs["resumed_from"] == [3, 5]


def test_waiting_and_running_trials_are_found_by_their_state(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(memory)
    told(study)
    parked, running = study.ask(), study.ask()
    memory.set_trial_state_values(parked._trial_id, TrialState.WAITING)
    assert memory.flush(PATIENCE)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    memory.admit_others(PATIENCE)

    def numbers(storage: BaseStorage, *states: TrialState) -> list[int]:
        return [trial.number for trial in in_memory(storage).get_trials(states=states)]

    assert numbers(memory, TrialState.WAITING) == numbers(rdb, TrialState.WAITING) == [parked.number, 3]
    assert numbers(memory, TrialState.RUNNING) == [running.number]
    assert numbers(memory, TrialState.WAITING, TrialState.RUNNING) == [1, 2, 3]
    assert numbers(memory, TrialState.COMPLETE) == [0]
    study.tell(running, state=TrialState.FAIL)
    assert numbers(memory, TrialState.RUNNING) == []


def test_unfinished_trials_of_an_earlier_run_are_found_by_their_state(rdb: BatchStorage) -> None:
    told(in_memory(rdb))
    in_memory(rdb).ask()
    storage = WriteBehindStorage(rdb, "s", linger=0.01, look=0.0, rewrite=0.0)
    try:
        assert [trial.number for trial in in_memory(storage).get_trials(states=(TrialState.RUNNING,))] == [1]
    finally:
        storage.close()
